import { type Endpoint, hasNode } from './types.ts';

/** What node:worker_threads' Worker and MessagePort have in common. */
export interface NodePort {
  postMessage(message: unknown, transfer?: readonly never[]): void;
  on(event: 'message', listener: (data: unknown) => void): unknown;
  off(event: 'message', listener: (data: unknown) => void): unknown;
}

/** A port of Node's as Comlink wants it: events that carry `data`. */
export function nodeEndpoint(port: NodePort): Endpoint {
  const listeners = new WeakMap<object, (data: unknown) => void>();
  return {
    postMessage: (message, transfer) => port.postMessage(message, transfer as never[] | undefined),
    addEventListener: (_, listener) => {
      const receive = (data: unknown) => {
        const event = { data };
        if ('handleEvent' in listener) listener.handleEvent(event);
        else listener(event);
      };
      listeners.set(listener, receive);
      port.on('message', receive);
    },
    removeEventListener: (_, listener) => {
      const receive = listeners.get(listener);
      if (receive) port.off('message', receive);
    },
  };
}

/**
 * Inside a worker: the line to whoever started it. It does not await in a browser, where a message that finds no listener is
 * lost.
 */
export function parentEndpoint(): Promise<Endpoint> {
  if (!hasNode()) return Promise.resolve(globalThis as unknown as Endpoint);
  return import('node:worker_threads').then(({ parentPort }) => nodeEndpoint(parentPort as unknown as NodePort));
}
