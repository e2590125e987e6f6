import type { Endpoint } from './endpoint.ts';

/** The worker entry points, each a file of workers/. */
export type WorkerKind = 'engine' | 'grow' | 'lane' | 'show';

/** A running worker, whatever the host calls it. */
export interface WorkerHandle {
  readonly endpoint: Endpoint;
  /** Keeps the process alive, or no longer. A new worker does not; browsers know no difference. */
  ref(): void;
  unref(): void;
  /** Ends it at once, in the middle of whatever it does. Calling it twice is allowed. */
  terminate(): Promise<void>;
  /** Called once when it is gone, by itself or by `terminate`, with what is known of the reason. */
  onLost(callback: (cause: unknown) => void): void;
}

/** What differs between hosts, apart from files. */
export interface Host {
  readonly name: 'node' | 'deno' | 'bun' | 'browser';
  /** Threads that run at once. */
  readonly cores: number;
  /** Whether workers may share memory: in browsers only on a page that is cross-origin isolated. */
  readonly sharedMemory: boolean;
  /** Starts one of the workers of this package, or the same from another place. */
  spawn(kind: WorkerKind, location?: URL): WorkerHandle;
}

/** Node, Deno and Bun all say which Node they are compatible with. */
export function hasNode(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return typeof process?.versions?.node === 'string';
}

let found: Promise<Host> | undefined;

/** Makes `host()` give this one: in a worker of this package, which starts no workers itself, what its caller lends; in tests, one to watch. */
export function setHost(host: Host): void {
  found = Promise.resolve(host);
}

/** The host that this program runs in. */
export function host(): Promise<Host> {
  // imported on demand, so that the graph of modules stays free of node: imports in a browser
  found ??= hasNode()
    ? import('./node.ts').then(({ nodeHost }) => nodeHost())
    : import('./browser.ts').then(({ browserHost }) => browserHost());
  return found;
}
