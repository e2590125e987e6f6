import { EspalierError } from '../../errors.ts';
import { readable } from '../../options/check.ts';
import { listOf, text, whole } from '../../options/rules.ts';
import { Bm25 } from '../rank/bm25.ts';

/** A matrix of all pairs is held: more are refused. */
export const MOST_CLUSTERED = 8192;
export const MOST_CLUSTERS = 256;
const ROUNDS = 4;

/**
 * Texts in clusters of at most ⌈texts / clusters⌉ by the words they share: medoids, the first ones chosen greedily so that each text is as
 * near to one as can be (facility location), then texts assigned to medoids, the nearest pairs first, as long as there is room, and medoids
 * moved to the middle. Nearness of two texts is how well each ranks the other by BM25, against how well it ranks itself.
 * @returns indices of texts by cluster, each from its medoid outwards; no cluster is empty
 * @throws E_ARGUMENT
 */
export function clusterTexts(texts: readonly string[], clusters: number): readonly (readonly number[])[] {
  readable('texts', () => listOf(text()).check(texts, 'texts'));
  whole(1, MOST_CLUSTERS).check(clusters, 'clusters');
  const n = texts.length;
  if (n > MOST_CLUSTERED) {
    throw new EspalierError('E_ARGUMENT', `${n} shots are too many to cluster.`, `Take at most ${MOST_CLUSTERED}.`);
  }
  if (n === 0) return [];
  const near = nearness(texts);
  const count = Math.min(clusters, n);
  const room = Math.ceil(n / count);
  let medoids = firstMedoids(near, n, count);
  let groups = assign(near, n, medoids, room);
  for (let round = 1; round < ROUNDS; round++) {
    const moved = groups.map((group) => middle(near, n, group));
    if (moved.every((medoid, c) => medoid === medoids[c])) break;
    medoids = moved;
    groups = assign(near, n, medoids, room);
  }
  return groups.map((group, c) => {
    const row = medoids[c]! * n;
    return group.toSorted((a, b) => near[row + b]! - near[row + a]! || a - b);
  });
}

/** Of all pairs, [n, n], symmetric; 2 where texts are the same. */
function nearness(texts: readonly string[]): Float32Array {
  const n = texts.length;
  const words = new Bm25();
  for (const [i, text] of texts.entries()) words.add(String(i), text);
  const scores = new Float32Array(n * n);
  for (const [i, text] of texts.entries()) {
    for (const { id, score } of words.rank(text)) scores[i * n + Number(id)] = score;
  }
  const own = Float32Array.from(texts, (_, i) => scores[i * n + i]! || 1);
  // in place: the matrix may be large
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const value = i === j ? 2 : scores[i * n + j]! / own[i]! + scores[j * n + i]! / own[j]!;
      scores[i * n + j] = value;
      scores[j * n + i] = value;
    }
  }
  return scores;
}

/** Each the one that brings all texts nearest to what is chosen, of equals the first. */
function firstMedoids(near: Float32Array, n: number, count: number): number[] {
  const medoids: number[] = [];
  const nearest = new Float32Array(n);
  while (medoids.length < count) {
    let best = -1;
    let most = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < n; c++) {
      if (medoids.includes(c)) continue;
      let gain = 0;
      for (let i = 0; i < n; i++) gain += Math.max(0, near[c * n + i]! - nearest[i]!);
      if (gain > most) {
        most = gain;
        best = c;
      }
    }
    medoids.push(best);
    for (let i = 0; i < n; i++) nearest[i] = Math.max(nearest[i]!, near[best * n + i]!);
  }
  return medoids;
}

/** Medoids stay in their own cluster. */
function assign(near: Float32Array, n: number, medoids: readonly number[], room: number): number[][] {
  const groups = medoids.map((medoid) => [medoid]);
  const placed = new Set(medoids);
  const pairs: { readonly value: number; readonly text: number; readonly cluster: number }[] = [];
  for (let text = 0; text < n; text++) {
    if (placed.has(text)) continue;
    for (const [cluster, medoid] of medoids.entries()) pairs.push({ value: near[medoid * n + text]!, text, cluster });
  }
  pairs.sort((a, b) => b.value - a.value || a.text - b.text || a.cluster - b.cluster);
  for (const { text, cluster } of pairs) {
    if (placed.has(text) || groups[cluster]!.length >= room) continue;
    placed.add(text);
    groups[cluster]!.push(text);
  }
  return groups;
}

/** The one that is nearest to all others of a cluster. */
function middle(near: Float32Array, n: number, group: readonly number[]): number {
  const sums = group.map((i) => group.reduce((sum, j) => sum + near[i * n + j]!, 0));
  return group[sums.indexOf(Math.max(...sums))]!;
}
