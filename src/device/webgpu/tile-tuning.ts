/**
 * How fast each tile is on the GPU at hand, measured once an adapter and thread by products of 2,048 rows and columns. It decides which tile is chosen, never a
 * bit of what is computed. Until it is known, and where a program plays the GPU, the rates are those of an NVIDIA H200.
 */
import type { Device, Tensor } from '../device.ts';
import type { GpuContext } from './context.ts';
import { operandOf } from './operand.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import type { Tile, TileRates } from './tile.ts';
import { productByTile } from './tile-product.ts';
import { fits, TILES } from './tile-shape.ts';

/** Rows and columns of a product: whole tiles of every kind, and workgroups for a large GPU. */
const SIZE = 2048;
/** Milliseconds that a measurement should take, so that the way to the GPU and back hardly counts, */
const WANTED = 6;
/** how many there are of each, of which the fastest counts, */
const ROUNDS = 3;
/** and how deep a product is: the first try, and at most. */
const [SHALLOW, DEEP] = [64, 1024];
/** Products of one submission, at most. */
const MOST = 64;
/** Workgroups that are taken to be computed at once, at least and at most. */
const [FEWEST, MANY] = [4, 512];

const known = new Map<string, TileRates>();

/** Measures, unless it was or a program plays the GPU: beside all else that the GPU does, on a device that is there for nothing else and is closed afterwards. */
export async function tune(context: GpuContext, open: () => Promise<Trial>): Promise<void> {
  if (context.facts.fallback) return;
  const { name } = context.facts;
  const before = name ? known.get(name) : undefined;
  if (before) {
    context.tiles = before;
    return;
  }
  try {
    const trial = await open();
    try {
      const rates = await measureTiles(
        trial.parts,
        trial.device,
        TILES.filter((tile) => fits(context.traits, tile)),
        () => context.alone,
      );
      if (!rates) return;
      context.tiles = rates;
      if (name) known.set(name, rates);
    } finally {
      trial.device.close();
    }
  } catch {
    // no memory, or the GPU is gone: who computes on it hears of it, and the rates stay what they are
  }
}

/** Where products are tried. */
export interface Trial {
  readonly device: Device;
  readonly parts: GpuParts;
}

/** @param ended whether nobody needs it any more. @returns null if so */
export async function measureTiles(
  parts: GpuParts,
  device: Device,
  tiles: readonly Tile[],
  ended: () => boolean,
): Promise<TileRates | null> {
  const { context, commands } = parts;
  const made: Tensor[] = [];
  const tensor = (rows: number, columns: number): Tensor => {
    const t = device.tensor('f32', [rows, columns]);
    made.push(t);
    return t;
  };
  try {
    const [x, w, c] = [tensor(SIZE, DEEP), tensor(SIZE, DEEP), tensor(SIZE, SIZE)];
    const record = (at: number, rows: number, columns: number, deep: number): void => {
      const [a, b] = [
        { of: { ...operandOf(device.rows(x, 0, rows)), columns: deep }, along: true },
        { of: { ...operandOf(device.rows(w, 0, columns)), columns: deep }, along: true },
      ] as const;
      productByTile(parts, tiles[at]!, a, b, c as GpuTensor, rows, columns);
    };
    const done = async (): Promise<void> => {
      await commands.settle();
      await context.device.queue.onSubmittedWorkDone();
    };
    const time = async (at: number, rows: number, columns: number, deep: number, times: number): Promise<number> => {
      const begin = performance.now();
      for (let i = 0; i < times; i++) record(at, rows, columns, deep);
      await done();
      return performance.now() - begin;
    };
    const best = async (at: number, rows: number, columns: number, deep: number, times: number): Promise<number> => {
      let least = Number.POSITIVE_INFINITY;
      for (let round = 0; round < ROUNDS; round++) least = Math.min(least, await time(at, rows, columns, deep, times));
      return least / times;
    };
    // compiled side by side; what the first one takes then says how much of it there should be
    for (const [at, { m, n }] of tiles.entries()) record(at, m, n, SHALLOW);
    await done();
    const once = await time(0, SIZE, SIZE, SHALLOW, 1);
    const deep = Math.max(SHALLOW, Math.min(DEEP, 16 * Math.floor(((WANTED / once) * SHALLOW) / 16)));
    const times = Math.max(1, Math.min(MOST, Math.round(WANTED / (once * (deep / SHALLOW)))));
    const took: number[] = [];
    for (const at of tiles.keys()) {
      if (ended()) return null;
      took.push(await best(at, SIZE, SIZE, deep, times));
    }
    // one workgroup has as long as all that are computed beside it
    const [{ m, n }] = tiles as [Tile];
    const one = await best(0, m, n, deep, times);
    const groups = (SIZE / m) * (SIZE / n);
    const units = 2 ** Math.round(Math.log2((groups * one) / took[0]!));
    const fastest = Math.min(...took);
    return {
      rates: new Map(tiles.map((tile, at) => [tile, fastest / took[at]!])),
      units: Math.max(FEWEST, Math.min(MANY, units)),
    };
  } finally {
    for (const t of made) t.dispose();
  }
}
