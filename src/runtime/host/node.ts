import { beside } from '../files/beside.ts';
import { type NodePort, nodeEndpoint } from './endpoint.ts';
import type { Host, WorkerHandle, WorkerKind } from './types.ts';
import { Loss } from './worker-loss.ts';

const here: string = import.meta.url;
const WORKERS = '../../../workers/';

/**
 * Node, Deno and Bun. Deno's workers come from node:worker_threads too: its global Worker has no `unref`, and a script that
 * forgets to close an engine should still end.
 */
export async function nodeHost(): Promise<Host> {
  const { Worker } = await import('node:worker_threads');
  const { availableParallelism } = await import('node:os');
  const { Deno, Bun } = globalThis as { Deno?: unknown; Bun?: unknown };
  const name = Deno ? 'deno' : Bun ? 'bun' : 'node';

  const spawn = (kind: WorkerKind, location?: URL): WorkerHandle => {
    // from sources or from the build: what this file is written in, they are written in
    const url = location ?? beside(`${WORKERS}${kind}${here.slice(here.lastIndexOf('.'))}`, here);
    const bootstrap = name === 'node' ? bootstrapOf(url) : null;
    const worker = bootstrap === null ? new Worker(url) : new Worker(bootstrap, { eval: true });
    const { lose, onLost } = new Loss();
    worker.on('error', lose);
    worker.on('messageerror', lose);
    worker.on('exit', (code) => lose(new Error(`The worker ended with exit code ${code}.`)));
    worker.unref();
    return {
      endpoint: nodeEndpoint(worker as unknown as NodePort),
      ref: () => worker.ref(),
      unref: () => worker.unref(),
      terminate: async () => {
        const ended = worker.terminate();
        lose(new Error('The worker was terminated.'));
        await ended;
      },
      onLost,
    };
  };
  return { name, cores: availableParallelism(), sharedMemory: typeof SharedArrayBuffer === 'function', spawn };
}

/** In a checkout. */
const TSX = '../../../node_modules/tsx/dist/esm/api/index.mjs';

/** Code that imports a worker which Node would not start by its address, or null. */
function bootstrapOf(url: URL): string | null {
  const address = JSON.stringify(url.href);
  // for development in Node 20, which runs no TypeScript: `--import tsx` reaches the main thread only
  if (url.pathname.endsWith('.ts') && !(process.features as { typescript?: unknown }).typescript) {
    // by its address, not its name, which bundlers would look for
    const tsx = JSON.stringify(beside(TSX, here).href);
    return `import(${tsx}).then(({ register }) => { register(); return import(${address}); });`;
  }
  // a flag of `node --eval`, which workers inherit and which refuses files
  return process.execArgv.some((flag) => flag.startsWith('--input-type')) ? `import(${address});` : null;
}
