import { EspalierError } from '../../errors.ts';
import type { Partition } from '../types.ts';
import { permutation, type Stream } from './noise.ts';

/** Blocks of singular components that the groups get: components are numbered from the largest, 0. */
export interface Blocks {
  /** One list a block, ascending. */
  readonly members: readonly (readonly number[])[];
  /** Components c such that c and c + 1 lie in different blocks, or one of them in none: where the partition depends on a gap. */
  readonly boundaries: readonly number[];
}

/**
 * Whether so many singular components give every block one.
 * @param count components of a matrix: its smaller side
 * @throws E_ARGUMENT
 */
export function checkComponents(count: number, partition: Partition, blocks: number): void {
  let left = count;
  if (typeof partition === 'object') {
    left = 'tailDrop' in partition ? Math.max(0, count - partition.tailDrop) : Math.min(count, partition.headKeep);
  }
  if (partition === 'none' || left >= blocks) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `The partition leaves ${left} singular components for ${blocks} groups.`,
    'Use fewer groups (a larger `groupSize`), or leave more components.',
  );
}

/**
 * Cuts components of a spectrum into blocks.
 *
 * @param s singular values, largest first [r]; only equal-energy looks at them
 * @param partition any but `none` and `random-orthogonal`, which have no blocks of singular components
 * @throws E_ARGUMENT where a block would have no component
 */
export function partitionSpectrum(
  s: Float64Array,
  partition: Partition,
  blocks: number,
  seed: number,
  stream: Stream,
): Blocks {
  const r = s.length;
  checkComponents(r, partition, blocks);
  const members = membersOf(s, partition, blocks, () => permutation(r, seed, stream));
  const owner = new Int32Array(r).fill(-1);
  members.forEach((block, g) => {
    for (const j of block) owner[j] = g;
  });
  const boundaries = Array.from({ length: r - 1 }, (_, j) => j).filter((j) => owner[j] !== owner[j + 1]);
  return { members, boundaries };
}

function membersOf(s: Float64Array, partition: Partition, blocks: number, drawn: () => Int32Array): number[][] {
  const all = Array.from({ length: s.length }, (_, i) => i);
  const even = (list: readonly number[]): number[][] =>
    evenSplit(list.length, blocks).map(([from, to]) => list.slice(from, to).sort((a, b) => a - b));
  if (typeof partition === 'object') {
    return even('tailDrop' in partition ? all.slice(partition.tailDrop) : all.slice(0, partition.headKeep));
  }
  switch (partition) {
    case 'contiguous':
      return even(all);
    case 'random':
      return even(Array.from(drawn()));
    case 'strided':
      return Array.from({ length: blocks }, (_, g) => all.filter((j) => j % blocks === g));
    case 'equal-energy':
      return equalEnergy(s, blocks).map(([from, to]) => all.slice(from, to));
    case 'none':
    case 'random-orthogonal':
      throw new Error(`${partition} has no blocks of singular components`);
    default:
      throw partition satisfies never;
  }
}

/** Ranges whose sizes differ by one at most, the larger first (NumPy's array_split). */
export function evenSplit(count: number, parts: number): [from: number, to: number][] {
  const least = Math.floor(count / parts);
  const more = count % parts;
  return Array.from({ length: parts }, (_, g) => {
    const from = g * least + Math.min(g, more);
    return [from, from + least + (g < more ? 1 : 0)];
  });
}

/** Cuts at the first component with which the sum of squares reaches g / blocks of the whole; no range is left empty. */
function equalEnergy(s: Float64Array, blocks: number): [from: number, to: number][] {
  let total = 0;
  for (const x of s) total += x * x;
  const ranges: [number, number][] = [];
  let from = 0;
  let to = 0;
  let sum = 0;
  for (let g = 1; g <= blocks; g++) {
    const most = s.length - (blocks - g);
    while (to < most && (to === from || g === blocks || sum < (g / blocks) * total)) {
      sum += s[to]! * s[to]!;
      to++;
    }
    ranges.push([from, to]);
    from = to;
  }
  return ranges;
}
