import { type Host, hasNode } from './types.ts';

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
