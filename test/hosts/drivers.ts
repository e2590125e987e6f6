/** How a browser is started and a page opened: Chromium by Playwright, Firefox, which Playwright cannot drive as it is, by Puppeteer. */
import type { TestDevice } from './host.ts';
import { type Playwright, type Puppeteer, program, type ToolPage, tool } from './tools.ts';

export interface Page {
  close(): Promise<void>;
}

export interface PageEvents {
  /** A line of the console, or an error that nothing caught before the page could. */
  output(text: string): void;
  crash(why: string): void;
}

export interface Driver {
  /** `Firefox 153.7` */
  version(): Promise<string>;
  open(url: string, events: PageEvents): Promise<Page>;
  close(): Promise<void>;
}

interface Context {
  newPage(): Promise<ToolPage>;
  close(): Promise<void>;
}

interface Browser {
  title: string;
  context(): Promise<Context>;
  onGone(listener: () => void): void;
  close(): Promise<void>;
}

/** Milliseconds that a browser may take to start. */
const STARTING = 120_000;
/** How often a page is asked for: Firefox now and then loses a new one while it closes another, before any test has run in it. */
const PAGE_TRIES = 3;

/** With it Chromium plays a GPU where there is none. */
const WEBGPU = '--enable-unsafe-webgpu';

/**
 * Chromium without its windows: the same engine of pages, workers and storage. Each test file has a context of its own, and for each of those Chromium
 * itself opens a window, whose bar is pages of its own: two fifths of what short files cost.
 */
export const CHROMIUM_SHELL = '/usr/lib/chromium/chromium-headless-shell';

export function chromiumDriver(binary?: string, device: TestDevice = 'wasm'): Driver {
  return driver(async () => {
    const browser = await tool<Playwright>('playwright-core').chromium.launch({
      executablePath: binary ?? program('chromium', '/usr/bin/chromium', '/usr/bin/google-chrome'),
      timeout: STARTING,
      args: [
        ...['--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync'],
        ...(device === 'webgpu' ? [WEBGPU] : []),
      ],
      handleSIGINT: false,
      handleSIGTERM: false,
      handleSIGHUP: false,
    });
    return {
      title: `${binary === CHROMIUM_SHELL ? 'Headless Chromium' : 'Chromium'} ${await browser.version()}`,
      context: () => browser.newContext(),
      onGone: (listener) => browser.on('disconnected', listener),
      close: () => browser.close(),
    };
  });
}

export function firefoxDriver(binary?: string, device: TestDevice = 'wasm'): Driver {
  return driver(async () => {
    const browser = await tool<Puppeteer>('puppeteer-core').launch({
      browser: 'firefox',
      executablePath: binary ?? program('firefox-esr', '/usr/bin/firefox-esr', '/usr/bin/firefox'),
      timeout: STARTING,
      headless: true,
      handleSIGINT: false,
      handleSIGTERM: false,
      handleSIGHUP: false,
      extraPrefsFirefox: {
        // two pages run at once, and one of them is in the background
        'dom.min_background_timeout_value': 4,
        'dom.timeout.enable_budget_timer_throttling': false,
        // for five seconds a new page's timers stand behind all else, so that a test of them is one of the page's age
        'dom.timeout.defer_during_load': false,
        'page_load.deprioritization_period': 0,
        'dom.ipc.processPriorityManager.enabled': false,
        'dom.max_script_run_time': 0,
        ...(device === 'webgpu' && {
          'dom.webgpu.enabled': true,
          'dom.webgpu.workers.enabled': true,
          'gfx.webgpu.ignore-blocklist': true,
        }),
      },
    });
    return {
      title: `Firefox ${(await browser.version()).split('/')[1]}`,
      context: () => browser.createBrowserContext(),
      onGone: (listener) => browser.on('disconnected', listener),
      close: () => browser.close(),
    };
  });
}

/** A page in a context of its own. */
async function openPage(browser: Browser): Promise<{ context: Context; page: ToolPage }> {
  for (let left = PAGE_TRIES; ; left--) {
    const context = await browser.context();
    try {
      return { context, page: await context.newPage() };
    } catch (error) {
      await context.close().catch(() => {});
      if (left === 1) throw error;
    }
  }
}

/** Starts the browser when it is first needed, and anew when it is gone. */
function driver(launch: () => Promise<Browser>): Driver {
  let browser: Promise<Browser> | null = null;
  const open = new Set<PageEvents>();
  const started = (): Promise<Browser> => {
    if (browser) return browser;
    const mine = launch();
    browser = mine;
    mine.then(
      ({ onGone }) =>
        onGone(() => {
          if (browser === mine) browser = null;
          for (const events of open) events.crash('the browser ended');
        }),
      () => {
        browser = null;
      },
    );
    return mine;
  };
  return {
    version: async () => (await started()).title,
    open: async (url, events) => {
      const { context, page } = await openPage(await started());
      open.add(events);
      page.on('console', (message) => events.output(message.text()));
      page.on('pageerror', (error) => {
        events.output(error.stack ?? error.message);
        events.crash('an uncaught error');
      });
      for (const event of ['crash', 'error'] as const) page.on(event, () => events.crash('the page crashed'));
      // not awaited: a file may keep its page busy from the first moment on
      page.goto(url, { timeout: 0 }).catch((error) => events.crash(`the page did not open (${error.message})`));
      return {
        close: () => {
          open.delete(events);
          return context.close();
        },
      };
    },
    close: async () => {
      const last = browser;
      browser = null;
      open.clear();
      await (await last)?.close();
    },
  };
}
