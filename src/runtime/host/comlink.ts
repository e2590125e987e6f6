import * as comlink from 'comlink';
import type { Endpoint } from './types.ts';

/**
 * The only place where Comlink is imported. Its markers are symbols of one copy, so it stays an external dependency and a caller
 * who uses Comlink too shares that copy. Its types need those of a browser, so they go no further than this file.
 */
export function expose(port: object, endpoint: Endpoint): void {
  comlink.expose(port, endpoint as unknown as comlink.Endpoint);
}

/** The port at the other end: every method of it returns a promise. */
export function wrap(endpoint: Endpoint): unknown {
  return comlink.wrap(endpoint as unknown as comlink.Endpoint);
}

/** Marks what of a value is moved instead of copied. */
export function transfer<T extends object>(value: T, moved: readonly (ArrayBuffer | MessagePort)[]): T {
  return comlink.transfer(value, [...moved]);
}
