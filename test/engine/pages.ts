/** Pages in a real Chromium, from folders on the loopback address. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { chromiumDriver, type Driver } from '../hosts/drivers.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

export interface StaticServer {
  /** `http://127.0.0.1:1234` */
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Serves folders by the first part of the path, '' for all others; other text by its path.
 * @param isolated whether its pages are cross-origin isolated. Any page may read from it.
 */
export async function serveFolders(
  folders: Readonly<Record<string, string>>,
  isolated: boolean,
  texts: Readonly<Record<string, string>> = {},
): Promise<StaticServer> {
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url!, 'http://127.0.0.1').pathname);
    if (isolated) {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    }
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Cache-Control', 'no-store');
    const text = texts[path];
    if (text !== undefined) return response.setHeader('Content-Type', 'text/html').end(text);
    const [, first = '', ...rest] = path.split('/');
    const file = first in folders ? join(folders[first]!, ...rest) : join(folders['']!, path);
    const named = path.endsWith('/') ? join(file, 'index.html') : file;
    const info = /\/\.\.?(\/|$)/.test(path) ? null : await stat(named).catch(() => null);
    if (!info?.isFile()) return response.writeHead(404).end();
    response.setHeader('Content-Type', TYPES[extname(named)] ?? 'application/octet-stream');
    response.setHeader('Content-Length', info.size);
    response.setHeader('ETag', `"${info.size}-${info.mtimeMs}"`);
    if (request.method === 'HEAD') return response.end();
    return createReadStream(named).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Chromium, or null with a printed line when it cannot be had. */
export const chromium = (): Promise<Driver | null> => browser(chromiumDriver);

/** Any browser, in the same way. */
export async function browser(make: () => Driver): Promise<Driver | null> {
  try {
    const driver = make();
    await driver.version();
    return driver;
  } catch (error) {
    console.log(`  skipped: pages in a browser (${(error as Error).message.split('\n')[0]})`);
    return null;
  }
}

/** Opens a page and resolves with what it prints, up to the line that `last` knows. */
export function printed(
  driver: Driver,
  url: string,
  last: (line: string) => boolean,
  seconds = 120,
): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    const fail = (why: string) => reject(new Error(`${url}: ${why}\n${lines.join('\n')}`));
    const limit = setTimeout(() => fail(`nothing after ${seconds} s`), 1000 * seconds);
    const page = driver.open(url, {
      output: (line) => {
        lines.push(line);
        if (!last(line)) return;
        clearTimeout(limit);
        page.then((opened) => opened.close()).then(() => resolve(lines), reject);
      },
      crash: (why) => {
        clearTimeout(limit);
        fail(why);
      },
    });
    page.catch(reject);
  });
}
