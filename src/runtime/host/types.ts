/** What differs between hosts, apart from files; and whether this one is Node or like it. */
/** One end of a line between two threads, whatever the host calls it. */
export interface Endpoint {
  postMessage(message: unknown, transfer?: readonly object[]): void;
  addEventListener(type: 'message', listener: MessageListener): void;
  removeEventListener(type: 'message', listener: MessageListener): void;
}

type Listen = (event: { readonly data: unknown }) => void;

export type MessageListener = Listen | { readonly handleEvent: Listen };

/** The worker entry points, each a file of workers/. */
export type WorkerKind = 'doctor' | 'engine' | 'grow' | 'lane' | 'prune' | 'show' | 'train';

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
