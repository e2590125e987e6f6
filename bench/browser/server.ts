/**
 * What the pages run and read, on the loopback address alone and cross-origin isolated: the sources (as test/hosts makes them
 * readable for browsers), the kernels, the rivals' packages as npm installed them, and the model files that were named.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isModule, Modules } from '../../test/hosts/modules.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDERS: Readonly<Record<string, string>> = { build: 'build', peers: 'bench/peers/node_modules' };
const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript',
  json: 'application/json',
  mjs: 'text/javascript',
  wasm: 'application/wasm',
};
const HEADERS = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};
const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Espalier benchmark</title>
<script type="module" src="/bench/browser/page.ts"></script>
`;

export interface BenchServer {
  /** `http://127.0.0.1:1234` */
  readonly origin: string;
  close(): Promise<void>;
}

/** @param files paths, served as `/files/NAME` */
export async function startServer(files: Readonly<Record<string, string>>): Promise<BenchServer> {
  const modules = new Modules();
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    answer(modules, files, request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject).listen(0, '127.0.0.1', resolve);
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await modules.close();
    },
  };
}

async function answer(
  modules: Modules,
  files: Readonly<Record<string, string>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const address = decodeURIComponent(new URL(request.url!, 'http://127.0.0.1').pathname);
  const send = (type: string, body: string) => {
    response.setHeader('Content-Type', `${type}; charset=utf-8`);
    response.end(body);
  };
  if (address === '/') return send('text/html', PAGE);
  if (isModule(address)) return send('text/javascript', await modules.source(address));
  const path = pathOf(address, files);
  const info = path === null ? null : await stat(path).catch(() => null);
  if (!info?.isFile()) return void response.writeHead(404).end();
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = range ? Number(range[1]) : 0;
  const end = Math.min(range?.[2] ? Number(range[2]) : info.size - 1, info.size - 1);
  response.setHeader('Content-Type', TYPES[/\.(\w+)$/.exec(path!)?.[1] ?? ''] ?? 'application/octet-stream');
  response.setHeader('Accept-Ranges', 'bytes');
  response.setHeader('ETag', `"${info.size}-${Math.trunc(info.mtimeMs)}"`);
  if (start > end) return void response.writeHead(416, { 'Content-Range': `bytes */${info.size}` }).end();
  response.setHeader('Content-Length', end - start + 1);
  if (range) response.writeHead(206, { 'Content-Range': `bytes ${start}-${end}/${info.size}` });
  if (request.method === 'HEAD') return void response.end();
  const file = createReadStream(path!, { start, end, highWaterMark: 2 ** 20 });
  file.on('error', () => response.destroy()).pipe(response);
  response.on('close', () => file.destroy());
}

function pathOf(address: string, files: Readonly<Record<string, string>>): string | null {
  const [, first = '', ...rest] = address.split('/');
  if (first === 'files') return files[rest.join('/')] ?? null;
  if (rest.some((part) => part === '.' || part === '..' || part.includes('\0'))) return null;
  const folder = FOLDERS[first];
  return folder === undefined ? null : `${PROJECT}${folder}/${rest.join('/')}`;
}
