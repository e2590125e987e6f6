/** What of the packages in test/runtimes is used. They are not there in a checkout that tests in Node alone, so their types are not either. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

const runtimes = createRequire(new URL('../runtimes/package.json', import.meta.url));

interface ConsoleMessage {
  text(): string;
}

export interface ToolPage {
  on(event: 'console', listener: (message: ConsoleMessage) => void): void;
  on(event: 'pageerror', listener: (error: Error) => void): void;
  /** Playwright says `crash`, Puppeteer `error`. */
  on(event: 'crash' | 'error' | 'close', listener: () => void): void;
  goto(url: string, options: { timeout: number }): Promise<unknown>;
}

interface ToolContext {
  newPage(): Promise<ToolPage>;
  close(): Promise<void>;
}

interface ToolBrowser {
  version(): string | Promise<string>;
  on(event: 'disconnected', listener: () => void): void;
  close(): Promise<void>;
}

export interface Playwright {
  chromium: { launch(options: object): Promise<ToolBrowser & { newContext(): Promise<ToolContext> }> };
}

export interface Puppeteer {
  launch(options: object): Promise<ToolBrowser & { createBrowserContext(): Promise<ToolContext> }>;
}

/** A package of test/runtimes. */
export function tool<T>(name: string): T {
  try {
    return runtimes(name) as T;
  } catch (cause) {
    throw new Error(`${name} is not installed: npm ci --prefix test/runtimes`, { cause });
  }
}

/** The first of the places where a program may lie. */
export function program(title: string, ...places: string[]): string {
  const found = places.find(existsSync);
  if (found === undefined)
    throw new Error(`${title} is not installed (apt-get install ${title}), or name it: --browser PATH`);
  return found;
}
