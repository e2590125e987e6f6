/** Which tiles a product is computed by. No choice here changes a bit of a sum over k, but how many shares k is cut into does. */
import type { GpuTraits } from './kernel.ts';
import type { Tile, TileRates } from './tile.ts';
import { DEPTH, strideOf } from './tile-kernel.ts';

/** All that a product may be computed by. */
export const TILES: readonly Tile[] = [
  { m: 128, n: 256, blockM: 8, blockN: 16 },
  { m: 128, n: 128, blockM: 8, blockN: 8 },
  { m: 128, n: 64, blockM: 8, blockN: 8 },
  { m: 64, n: 64, blockM: 8, blockN: 4 },
  { m: 32, n: 32, blockM: 4, blockN: 4 },
  { m: 64, n: 16, blockM: 4, blockN: 4 },
  { m: 16, n: 64, blockM: 4, blockN: 4 },
];

/** An NVIDIA H200's. */
export const USUAL: TileRates = {
  rates: new Map([1, 0.95, 0.94, 0.84, 0.45, 0.4, 0.4].map((rate, i) => [TILES[i]!, rate])),
  units: 128,
};

/** What a choice needs to know of a GPU. */
interface Chooser {
  readonly traits: GpuTraits;
  /** Null: not known. */
  readonly tiles: TileRates | null;
}

/** Shares of k have at least so many numbers. */
const LEAST_SHARE = 256;
const MOST_SHARES = 64;

/** @param matrices products of this size that are computed by one call */
export function chooseTile(gpu: Chooser, m: number, n: number, matrices = 1): Tile {
  return best(gpu, (tile) => groupsOf(tile, m, n) * matrices);
}

/**
 * The same where k may be cut into shares, each a workgroup's: there are enough of them with any tile. How long a share is decides bits, so it is the same
 * however fast tiles are.
 */
export function chooseShares(
  gpu: Chooser,
  m: number,
  n: number,
  k: number,
): { readonly tile: Tile; readonly share: number } {
  const share = shareOf(gpu.traits, m, n, k);
  return { tile: chooseTile(gpu, m, n, Math.max(1, Math.ceil(k / share))), share };
}

/** Numbers along k of a share. */
function shareOf(traits: GpuTraits, m: number, n: number, k: number): number {
  const usual = { traits, tiles: null };
  const most = Math.min(MOST_SHARES, Math.floor(k / LEAST_SHARE));
  if (most < 2 || groupsOf(chooseTile(usual, m, n), m, n) >= 2 * USUAL.units) return Math.max(1, k);
  const sharesOf = (tile: Tile) => Math.max(1, Math.min(most, Math.floor((2 * USUAL.units) / groupsOf(tile, m, n))));
  const tile = best(usual, (one) => groupsOf(one, m, n) * sharesOf(one), sharesOf);
  return Math.ceil(k / sharesOf(tile) / DEPTH) * DEPTH;
}

function groupsOf({ m, n }: Tile, rows: number, columns: number): number {
  return Math.ceil(rows / m) * Math.ceil(columns / n);
}

/** Whether its panels fit. */
export function fits({ workgroupBytes }: GpuTraits, { m, n }: Tile): boolean {
  return 16 * DEPTH * (strideOf(m) + strideOf(n)) <= workgroupBytes;
}

/** Of least cost. @param groups workgroups of it @param parts into how many of equal length its sums are cut */
function best({ traits, tiles }: Chooser, groups: (of: Tile) => number, parts: (of: Tile) => number = () => 1): Tile {
  const { rates, units } = tiles ?? USUAL;
  let [least, found] = [Number.POSITIVE_INFINITY, TILES.at(-1)!];
  for (const tile of TILES) {
    if (!fits(traits, tile)) continue;
    const waves = Math.ceil(groups(tile) / units);
    const its = (waves * tile.m * tile.n) / rates.get(tile)! / parts(tile);
    if (its < least) [least, found] = [its, tile];
  }
  return found;
}
