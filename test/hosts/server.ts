/** What browsers run and read: pages, modules, and the files of the project and of ../shared, on the loopback address alone. */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isModule, type Modules } from './modules.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDERS = ['src', 'test', 'workers', 'models', 'build'];
const TYPES: Readonly<Record<string, string>> = { wasm: 'application/wasm', json: 'application/json' };

export interface TestServer {
  /** `http://127.0.0.1:1234` */
  readonly origin: string;
  close(): Promise<void>;
}

/** @param isolated whether pages are cross-origin isolated, and so have shared memory */
export async function startServer(modules: Modules, isolated: boolean): Promise<TestServer> {
  const isolation = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
    'Cross-Origin-Resource-Policy': 'same-origin',
  };
  const headers = { 'Cache-Control': 'no-store', ...(isolated ? isolation : {}) };
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    answer(modules, request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject).listen(0, '127.0.0.1', resolve);
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(modules: Modules, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url!, 'http://127.0.0.1');
  const address = decodeURIComponent(url.pathname);
  const send = (type: string, body: string) => {
    response.setHeader('Content-Type', `${type}; charset=utf-8`);
    response.end(body);
  };
  if (address === '/') return send('text/html', PAGE);
  if (address === '/favicon.ico') return void response.writeHead(204).end();
  const path = pathOf(address);
  const info = path === null ? null : await stat(path).catch(() => null);
  if (url.search === '?stat') {
    const names = info?.isDirectory() ? await readdir(path!) : undefined;
    return send('application/json', JSON.stringify(info && { size: info.size, names }));
  }
  if (isModule(address)) return send('text/javascript', await modules.source(address));
  if (!info?.isFile()) return void response.writeHead(404).end();
  sendFile(path!, info.size, request, response);
}

/** An address as a path, or null when it is none of those that are served. */
function pathOf(address: string): string | null {
  const [, folder] = address.split('/');
  if (/(^|\/)\.\.?(\/|$)|\0|\/node_modules\//.test(address)) return null;
  if (folder === 'shared') return `${PROJECT}..${address}`;
  return FOLDERS.includes(folder!) ? `${PROJECT}${address.slice(1)}` : null;
}

function sendFile(path: string, size: number, request: IncomingMessage, response: ServerResponse): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = range ? Number(range[1]) : 0;
  const end = Math.min(range?.[2] ? Number(range[2]) : size - 1, size - 1);
  const type = TYPES[/\.(\w+)$/.exec(path)?.[1] ?? ''] ?? 'application/octet-stream';
  response.setHeader('Content-Type', type);
  response.setHeader('Accept-Ranges', 'bytes');
  if (range && start > end) return void response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
  response.setHeader('Content-Length', end - start + 1);
  if (range) response.writeHead(206, { 'Content-Range': `bytes ${start}-${end}/${size}` });
  if (request.method === 'HEAD' || size === 0) return void response.end();
  const file = createReadStream(path, { start, end });
  file.on('error', () => response.destroy()).pipe(response);
  response.on('close', () => file.destroy());
}

/** The test file's address stands behind `?`. */
const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Espalier tests</title>
<script type="module" src="/test/hosts/page.ts"></script>
`;
