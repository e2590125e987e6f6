/** Which tiles a product is computed by. No choice here changes a bit of a sum over k, but how many shares k is cut into does. */
import type { GpuTraits } from './kernel.ts';
import { DEPTH, strideOf, type Tile } from './tile-kernel.ts';

interface Candidate extends Tile {
  /** How much of the rate of the largest tile it reaches: an invocation with fewer sums reads more of a panel for each. */
  readonly rate: number;
}

const CANDIDATES: readonly Candidate[] = [
  { m: 128, n: 256, blockM: 8, blockN: 16, rate: 1 },
  { m: 128, n: 128, blockM: 8, blockN: 8, rate: 0.95 },
  { m: 128, n: 64, blockM: 8, blockN: 8, rate: 0.94 },
  { m: 64, n: 64, blockM: 8, blockN: 4, rate: 0.84 },
  { m: 32, n: 32, blockM: 4, blockN: 4, rate: 0.45 },
  { m: 64, n: 16, blockM: 4, blockN: 4, rate: 0.4 },
  { m: 16, n: 64, blockM: 4, blockN: 4, rate: 0.4 },
];

/** Workgroups of the largest tile that a large GPU computes at once; WebGPU does not tell. */
const UNITS = 128;
/** Shares of k have at least so many numbers. */
const LEAST_SHARE = 256;
const MOST_SHARES = 64;

/** @param matrices products of this size that are computed by one call */
export function chooseTile(traits: GpuTraits, m: number, n: number, matrices = 1): Tile {
  return best(traits, ({ m: tileM, n: tileN, rate }) => {
    const groups = Math.ceil(m / tileM) * Math.ceil(n / tileN) * matrices;
    return (Math.ceil(groups / UNITS) * tileM * tileN) / rate;
  });
}

/** The same where k may be cut into shares, each a workgroup's: there are enough of them with any tile. */
export function chooseShares(
  traits: GpuTraits,
  m: number,
  n: number,
  k: number,
): { readonly tile: Tile; readonly share: number } {
  const whole = { tile: chooseTile(traits, m, n), share: Math.max(1, k) };
  const most = Math.min(MOST_SHARES, Math.floor(k / LEAST_SHARE));
  if (most < 2 || groupsOf(whole.tile, m, n) >= 2 * UNITS) return whole;
  const sharesOf = (tile: Tile) => Math.max(1, Math.min(most, Math.floor((2 * UNITS) / groupsOf(tile, m, n))));
  const tile = best(traits, (one) => {
    const groups = groupsOf(one, m, n) * sharesOf(one);
    return (Math.ceil(groups / UNITS) * one.m * one.n) / one.rate / sharesOf(one);
  });
  const shares = sharesOf(tile);
  return { tile, share: Math.ceil(k / shares / DEPTH) * DEPTH };
}

function groupsOf({ m, n }: Tile, rows: number, columns: number): number {
  return Math.ceil(rows / m) * Math.ceil(columns / n);
}

/** Whether its panels fit. */
function fits({ workgroupBytes }: GpuTraits, { m, n }: Tile): boolean {
  return 16 * DEPTH * (strideOf(m) + strideOf(n)) <= workgroupBytes;
}

function best(traits: GpuTraits, cost: (of: Candidate) => number): Tile {
  let [least, found] = [Number.POSITIVE_INFINITY, CANDIDATES.at(-1)!];
  for (const candidate of CANDIDATES) {
    if (!fits(traits, candidate)) continue;
    const its = cost(candidate);
    if (its < least) [least, found] = [its, candidate];
  }
  return found;
}
