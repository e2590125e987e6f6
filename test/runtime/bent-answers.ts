/** Answers for the weights that go wrong as a test wants. */
import * as assert from 'uvu/assert';
import { server } from './downloads.ts';
import type { Exchange } from './hub-server.ts';

/** Bends the answers for the weights, one after the other; afterwards they are as they should be. */
export function bend(...answers: ((exchange: Exchange) => void)[]): void {
  server.intercept = (exchange) => {
    const answer = exchange.where === 'cdn' ? answers.shift() : undefined;
    answer?.(exchange);
    return answer !== undefined;
  };
}
export const ranges = (): (string | undefined)[] => server.seen('cdn').map(({ range }) => range);
/** The weights were asked for from the beginning, then each time from where the last connection ended. */
export function continued(...offsets: number[]): void {
  assert.equal(ranges(), [undefined, ...offsets.map((offset) => `bytes=${offset}-`)]);
}
/** Looks again and again; what never comes about is ended by the runner. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
}
/** Sends a third and no more. */
export const SILENT = { slow: { bytes: 100_000, pause: 1_000_000 } };
