/** Chromium by the playwright-core of test/runtimes: pages that each have a process of their own, and what the browser knows of them. */
import { program, tool } from '../../test/hosts/tools.ts';
import type { PageBench } from './types.ts';

interface ToolPage {
  goto(url: string): Promise<unknown>;
  evaluate(expression: string): Promise<unknown>;
  on(event: 'crash', listener: () => void): void;
  on(event: 'pageerror', listener: (error: Error) => void): void;
}
interface ToolContext {
  newPage(): Promise<ToolPage>;
  close(): Promise<void>;
}
interface ToolBrowser {
  version(): string;
  newContext(): Promise<ToolContext>;
  newBrowserCDPSession(): Promise<{ send(method: string): Promise<unknown> }>;
  startTracing(page: ToolPage, options: { categories: string[] }): Promise<void>;
  stopTracing(): Promise<Buffer>;
  close(): Promise<void>;
}
interface Playwright {
  chromium: { launch(options: object): Promise<ToolBrowser> };
}

export interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds, as all times here. */
  readonly ts: number;
  readonly dur?: number;
  /** Time on a processor, without waiting for one. */
  readonly tdur?: number;
}

export class BenchPage {
  readonly #context: ToolContext;
  readonly #crashed: Promise<never>;
  readonly page: ToolPage;

  constructor(context: ToolContext, page: ToolPage) {
    this.#context = context;
    this.page = page;
    this.#crashed = new Promise((_, reject) => {
      page.on('crash', () => reject(new Error('the page crashed')));
      page.on('pageerror', reject);
    });
    this.#crashed.catch(() => {});
  }

  /** Calls a function of page.ts. */
  call<K extends keyof PageBench>(name: K, ...args: Parameters<PageBench[K]>): ReturnType<PageBench[K]> {
    const answer = this.page.evaluate(`bench.${name}(...${JSON.stringify(args)})`);
    return Promise.race([answer, this.#crashed]) as ReturnType<PageBench[K]>;
  }

  close(): Promise<void> {
    return this.#context.close();
  }
}

export class Chromium {
  readonly #browser: ToolBrowser;

  private constructor(browser: ToolBrowser) {
    this.#browser = browser;
  }

  /** @throws when it, or what drives it, is not installed */
  static async launch(binary?: string): Promise<Chromium> {
    const { chromium } = tool<Playwright>('playwright-core');
    return new Chromium(
      await chromium.launch({
        executablePath: binary ?? program('chromium', '/usr/bin/chromium', '/usr/bin/google-chrome'),
        args: ['--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync'],
      }),
    );
  }

  get version(): string {
    return `Chromium ${this.#browser.version()}`;
  }

  /** A page in a context, and so a process, of its own. */
  async open(origin: string): Promise<BenchPage> {
    const context = await this.#browser.newContext();
    const page = new BenchPage(context, await context.newPage());
    await page.page.goto(origin);
    return page;
  }

  /** Cores that all processes of the browser keep busy, over `milliseconds`. */
  async busy(milliseconds: number): Promise<number> {
    const session = await this.#browser.newBrowserCDPSession();
    const seconds = async (): Promise<Map<number, number>> => {
      const info = (await session.send('SystemInfo.getProcessInfo')) as {
        processInfo: { id: number; cpuTime: number }[];
      };
      return new Map(info.processInfo.map(({ id, cpuTime }) => [id, cpuTime]));
    };
    const before = await seconds();
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    const after = await seconds();
    const elapsed = (performance.now() - start) / 1000;
    let used = 0;
    for (const [id, time] of after) used += time - (before.get(id) ?? time);
    return used / elapsed;
  }

  /** What the browser records of its tasks, and of the page's marks, while `work` runs. */
  async trace<T>(page: BenchPage, work: () => Promise<T>): Promise<{ value: T; events: TraceEvent[] }> {
    const categories = ['disabled-by-default-devtools.timeline', 'blink.user_timing'];
    await this.#browser.startTracing(page.page, { categories });
    const value = await work();
    const { traceEvents } = JSON.parse((await this.#browser.stopTracing()).toString('utf8'));
    return { value, events: traceEvents };
  }

  close(): Promise<void> {
    return this.#browser.close();
  }
}
