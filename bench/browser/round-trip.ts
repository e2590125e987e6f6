/** What it costs to ask the engine worker something and have its answer; the same in Node and in a page. */
import { Engine } from '../../src/index.ts';
import type { RoundTrip } from './types.ts';

const ROUNDS = 60;
const CALLS = 25;

export async function roundTrip(): Promise<RoundTrip> {
  const engine = await Engine.create({ lanes: 1 });
  try {
    const each: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      for (let i = 0; i < CALLS; i++) await engine.stats();
      each.push(((performance.now() - start) * 1000) / CALLS);
    }
    each.sort((a, b) => a - b);
    return { best: each[0]!, median: each[ROUNDS >> 1]! };
  } finally {
    await engine.close();
  }
}
