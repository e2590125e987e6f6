import { beside } from '../files/beside.ts';
import type { Endpoint, Host, WorkerHandle, WorkerKind } from './types.ts';
import { Loss } from './worker-loss.ts';

/**
 * Bundlers find the workers by these very expressions: a literal address inside `new Worker`. The build writes `.js` for `.ts`
 * (scripts/build.mjs).
 */
const packaged: Record<WorkerKind, () => Worker> = {
  doctor: () => new Worker(new URL('../../../workers/doctor.ts', import.meta.url), { type: 'module' }),
  engine: () => new Worker(new URL('../../../workers/engine.ts', import.meta.url), { type: 'module' }),
  grow: () => new Worker(new URL('../../../workers/grow.ts', import.meta.url), { type: 'module' }),
  lane: () => new Worker(new URL('../../../workers/lane.ts', import.meta.url), { type: 'module' }),
  prune: () => new Worker(new URL('../../../workers/prune.ts', import.meta.url), { type: 'module' }),
  show: () => new Worker(new URL('../../../workers/show.ts', import.meta.url), { type: 'module' }),
  train: () => new Worker(new URL('../../../workers/train.ts', import.meta.url), { type: 'module' }),
};

/** The folder of the workers from here; the build changes it where it puts this into another file. */
const WORKERS = '../../../workers/';

export function browserHost(): Host {
  return {
    name: 'browser',
    cores: navigator.hardwareConcurrency || 1,
    sharedMemory: typeof SharedArrayBuffer === 'function' && globalThis.crossOriginIsolated === true,
    spawn: (kind, location) => handle(start(kind, location)),
  };
}

const here: string = import.meta.url;

function start(kind: WorkerKind, location: URL | undefined): Worker {
  if (location === undefined && !isForeign(here)) return packaged[kind]();
  // from a CDN, which serves this package's files as they are
  const url = location ?? beside(`${WORKERS}${kind}${here.slice(here.lastIndexOf('.'))}`, here);
  if (!isForeign(url.href)) return new Worker(url, { type: 'module' });
  // a worker's script must be of the page's own origin, what it imports need not
  const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' });
  const address = URL.createObjectURL(script);
  const worker = new Worker(address, { type: 'module' });
  // not before it has been fetched
  for (const event of ['message', 'error']) {
    worker.addEventListener(event, () => URL.revokeObjectURL(address), { once: true });
  }
  return worker;
}

/** Whether an address is one of the web on another origin. Bundlers write `file:` addresses for this module's own, which say nothing. */
function isForeign(address: string): boolean {
  const { origin, protocol } = new URL(address);
  return /^https?:$/.test(protocol) && origin !== globalThis.location.origin;
}

function handle(worker: Worker): WorkerHandle {
  const { lose, onLost } = new Loss();
  worker.addEventListener('error', (event) => {
    event.preventDefault(); // it is reported as an error of the calls that wait
    // a script that cannot be fetched has no message
    lose(event.error ?? new Error(event.message || 'The script of the worker could not be loaded.'));
  });
  worker.addEventListener('messageerror', () => lose(new Error('A message to or from the worker could not be read.')));
  return {
    endpoint: worker as unknown as Endpoint,
    ref: () => {},
    unref: () => {},
    terminate: async () => {
      worker.terminate();
      // nobody else tells
      lose(new Error('The worker was terminated.'));
    },
    onLost,
  };
}
