import type { Device } from '../../../device/device.ts';
import { defined } from '../../../options/defined.ts';
import { isWasm, LinearAlgebra } from '../../../svd/linear-algebra.ts';
import { Steps } from '../../../svd/steps.ts';
import { dot, logShare, softmax, solve, times, transposed } from './dense.ts';
import { centreOf, normalised } from './features.ts';

const LANDMARKS = 1024;

/** What is added to every product, so that a constant is learnt too. */
const CONSTANT = 0.1;

/** Regularisations that are tried, as shares of the number of examples. */
const SHARES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1];

/** Without labels nothing says how much. */
const USUAL = 1e-3;

/** Directions that are a smaller part of the largest are left out: they are rounding. */
const LEAST = 1e-7;

/** Temperatures that are tried: from sure to indifferent, a fifth apart. */
const TEMPERATURES = Array.from({ length: 40 }, (_, i) => 0.02 * 1.2 ** i);

/** What is said of a query. */
export interface RidgeReading {
  /** By class, summing to 1. */
  readonly shares: Float64Array;
  /** By example: how much its label counts for this query (the equivalent kernel). Computed when it is asked for. */
  weights(): Float64Array;
}

export interface RidgeOptions {
  /** Of one vector of the features. */
  readonly width: number;
  /** Examples whose products with all others span the space: of more, evenly spread ones (Nystroem). Default 1024. */
  readonly landmarks?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Kernel ridge regression of one-hot labels (regularised least-squares classification, Rifkin 2002): the kernel is the mean cosine of keys. How much is regularised is what
 * gives the least squared error of examples left out one at a time, in closed form (Allen 1974), and of these same errors the temperature is
 * fitted with which scores become probabilities (Guo et al. 2017): where examples say nothing of each other, all classes are alike.
 */
export class LabelRidge {
  /** Right answers among the labelled examples, each left out; NaN without any. */
  readonly accuracy: number;
  /** Whether examples say of each other's labels more than chance does. */
  readonly says: boolean;
  /** What was added to the diagonal. */
  readonly lambda: number;
  readonly temperature: number;
  readonly #width: number;
  readonly #centre: Float64Array;
  /** [landmarks, features] */
  readonly #landmarks: Float32Array;
  /** [rank, landmarks]: from products with the landmarks to coordinates. */
  readonly #coordinates: Float32Array;
  /** [examples, rank] */
  readonly #examples: Float32Array;
  /** [rank]: 1 / (s + lambda) */
  readonly #gains: Float64Array;
  /** [rank, classes] */
  readonly #weights: Float64Array;
  /** [classes, features]: all of it in one product, and what the constant adds. */
  readonly #primal: Float32Array;
  readonly #offsets: Float64Array;
  readonly #classes: number;
  /** Class of each example; -1: none. */
  readonly #labels: readonly number[];

  private constructor(space: Space, fitted: Fitted, primal: Primal, labels: readonly number[], width: number) {
    this.#primal = primal.weights;
    this.#offsets = primal.offsets;
    this.#labels = labels;
    this.accuracy = fitted.accuracy;
    this.says = Number.isFinite(fitted.temperature);
    this.lambda = fitted.lambda;
    this.temperature = fitted.temperature;
    this.#width = width;
    this.#centre = space.centre;
    this.#landmarks = space.landmarks;
    this.#coordinates = space.coordinates;
    this.#examples = space.examples;
    this.#gains = fitted.gains;
    this.#weights = fitted.weights;
    this.#classes = fitted.classes;
  }

  /**
   * @param features of each example
   * @param labels class of each example from 0 on; -1: it has none
   * @throws E_OUT_OF_MEMORY, E_ABORTED
   */
  static async fit(
    device: Device,
    features: readonly Float32Array[],
    labels: readonly number[],
    classes: number,
    { width, landmarks = LANDMARKS, signal }: RidgeOptions,
  ): Promise<LabelRidge> {
    const algebra = isWasm(device) ? LinearAlgebra.over(device) : await LinearAlgebra.create();
    try {
      const space = await spaceOf(device, algebra, features, labels, { width, landmarks, signal });
      const fitted = await fitLabels(device, space, labels, classes, new Steps(defined({ signal })));
      return new LabelRidge(space, fitted, await primalOf(device, space, fitted), labels, width);
    } finally {
      algebra.close();
    }
  }

  /**
   * @param features of the query
   * @param without examples that are not to count, by index: what is said is what a regression of the others says, in closed form, with the same centre,
   *   regularisation and temperature
   */
  read(features: Float32Array, without: readonly number[] = []): RidgeReading {
    const row = new Float32Array(features.length);
    normalised(features, this.#centre, this.#width, row);
    const scores = this.#offsets.map((offset, c) => offset + dot(row, this.#primal, c * row.length));
    let known: Float64Array | null = null;
    const weights = (): Float64Array => {
      known ??= this.#weightsOf(row);
      return known;
    };
    const out = without.filter((i) => this.#labels[i]! >= 0);
    if (out.length > 0) this.#leaveOut(out, weights(), scores);
    return { shares: softmax(scores, this.temperature), weights };
  }

  #weightsOf(row: Float32Array): Float64Array {
    const count = this.#landmarks.length / row.length;
    const products = Float32Array.from({ length: count }, (_, i) => {
      return dot(row, this.#landmarks, i * row.length) + CONSTANT;
    });
    const rank = this.#gains.length;
    const gained = Float32Array.from(this.#gains, (gain, j) => gain * dot(products, this.#coordinates, j * count));
    const examples = this.#examples.length / rank;
    return Float64Array.from({ length: examples }, (_, i) => dot(gained, this.#examples, i * rank));
  }

  /** Takes examples out of scores: the errors of those left out together, as far as the query listens to each (block leave-one-out). */
  #leaveOut(out: readonly number[], weights: Float64Array, scores: Float64Array): void {
    const [n, classes, rank] = [out.length, this.#classes, this.#gains.length];
    const rowOf = (i: number) => this.#examples.subarray(i * rank, (i + 1) * rank);
    const rest = new Float64Array(n * n);
    const errors = new Float64Array(n * classes);
    for (const [k, i] of out.entries()) {
      const gained = rowOf(i).map((x, j) => x * this.#gains[j]!);
      for (const [l, j] of out.entries()) rest[k * n + l] = (k === l ? 1 : 0) - dot(gained, this.#examples, j * rank);
      errors[k * classes + this.#labels[i]!] = 1;
      for (let j = 0; j < rank; j++) {
        for (let c = 0; c < classes; c++) errors[k * classes + c]! -= rowOf(i)[j]! * this.#weights[j * classes + c]!;
      }
    }
    solve(rest, errors, n);
    for (const [k, i] of out.entries()) {
      for (let c = 0; c < classes; c++) scores[c]! -= weights[i]! * errors[k * classes + c]!;
    }
  }
}

/** Coordinates in which products of the labelled examples are diagonal. */
interface Space {
  readonly centre: Float64Array;
  readonly landmarks: Float32Array;
  readonly coordinates: Float32Array;
  readonly examples: Float32Array;
  /** [rank]: squared lengths of the columns of the labelled examples. */
  readonly squares: Float64Array;
}

async function spaceOf(
  device: Device,
  algebra: LinearAlgebra,
  features: readonly Float32Array[],
  labels: readonly number[],
  { width, landmarks: most, signal }: Required<Pick<RidgeOptions, 'width' | 'landmarks'>> & RidgeOptions,
): Promise<Space> {
  const n = features.length;
  const size = features[0]!.length;
  const centre = centreOf(features);
  const rows = new Float32Array(n * size);
  for (const [i, list] of features.entries()) normalised(list, centre, width, rows.subarray(i * size, (i + 1) * size));
  const count = Math.min(n, most);
  const landmarks = count === n ? rows : new Float32Array(count * size);
  for (let i = 0; count < n && i < count; i++) {
    const from = Math.floor((i * n) / count) * size;
    landmarks.set(rows.subarray(from, from + size), i * size);
  }
  const stop = signal ? { signal } : {};
  const own = await algebra.gram(landmarks, { rows: count, columns: size, side: 'left', ...stop });
  for (let i = 0; i < own.length; i++) own[i]! += CONSTANT;
  const { values, vectors } = await algebra.symmetricEig(own, { n: count, ...stop });
  const rank = Math.max(1, values.findLastIndex((value) => value > LEAST * values[0]!) + 1);
  const coordinates = Float32Array.from({ length: rank * count }, (_, i) => {
    return vectors[i]! / Math.sqrt(values[Math.floor(i / count)]!);
  });
  if (count === n && labels.every((label) => label >= 0)) {
    const examples = new Float32Array(n * rank);
    for (let j = 0; j < rank; j++) {
      const length = Math.sqrt(values[j]!);
      for (let i = 0; i < n; i++) examples[i * rank + j] = vectors[j * count + i]! * length;
    }
    return { centre, landmarks, coordinates, examples, squares: values.slice(0, rank) };
  }
  const products = await times(device, rows, landmarks, size, CONSTANT);
  const examples = await times(device, products, coordinates, count);
  const labelled = labels.flatMap((label, i) => (label >= 0 ? [i] : []));
  if (labelled.length === 0) return { centre, landmarks, coordinates, examples, squares: values.slice(0, rank) };
  const known = new Float64Array(labelled.length * rank);
  for (const [k, i] of labelled.entries()) known.set(examples.subarray(i * rank, (i + 1) * rank), k * rank);
  const inner = await algebra.gram(known, { rows: labelled.length, columns: rank, side: 'right', ...stop });
  const turned = await algebra.symmetricEig(inner, { n: rank, ...stop });
  const turn = Float32Array.from(turned.vectors);
  const back = transposed(coordinates, rank, count);
  return {
    centre,
    landmarks,
    coordinates: transposed(await times(device, back, turn, rank), count, rank),
    examples: await times(device, examples, turn, rank),
    squares: turned.values.map((value) => Math.max(0, value)),
  };
}

/** Whether what left-out examples gain over equal shares, in nats, is more than three standard errors; of few examples one nat is added to these. */
function isMoreThanChance(gains: readonly number[]): boolean {
  const mean = gains.reduce((sum, gain) => sum + gain, 0) / gains.length;
  const squares = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 1);
  return mean > (3 * Math.sqrt(squares)) / gains.length;
}

interface Primal {
  readonly weights: Float32Array;
  readonly offsets: Float64Array;
}

/** Scores are linear in the features: fewer products where there are fewer classes than landmarks. */
async function primalOf(
  device: Device,
  { landmarks, coordinates }: Space,
  { weights, gains, classes }: Fitted,
): Promise<Primal> {
  const rank = gains.length;
  const count = coordinates.length / rank;
  const byClass = transposed(Float32Array.from(weights), rank, classes);
  const each = await times(device, byClass, transposed(coordinates, rank, count), rank);
  const columns = transposed(landmarks, count, landmarks.length / count);
  const offsets = new Float64Array(classes);
  for (let i = 0; i < each.length; i++) offsets[Math.floor(i / count)]! += CONSTANT * each[i]!;
  return { weights: await times(device, each, columns, count), offsets };
}

interface Fitted {
  readonly classes: number;
  readonly lambda: number;
  readonly temperature: number;
  readonly accuracy: number;
  readonly gains: Float64Array;
  readonly weights: Float64Array;
}

async function fitLabels(
  device: Device,
  { examples, squares }: Space,
  labels: readonly number[],
  classes: number,
  steps: Steps,
): Promise<Fitted> {
  const rank = squares.length;
  const sums = new Float64Array(rank * classes);
  for (const [i, label] of labels.entries()) {
    for (let j = 0; label >= 0 && j < rank; j++) sums[j * classes + label]! += examples[i * rank + j]!;
  }
  const solved = (lambda: number) => {
    const gains = squares.map((square) => 1 / (square + lambda));
    return { gains, weights: sums.map((sum, i) => sum * gains[Math.floor(i / classes)]!) };
  };
  const count = labels.filter((label) => label >= 0).length;
  const usual = USUAL * labels.length;
  if (count < 2) return { classes, lambda: usual, temperature: Infinity, accuracy: Number.NaN, ...solved(usual) };
  let best: { readonly error: number; readonly lambda: number; readonly scores: Float64Array } | null = null;
  for (const share of SHARES) {
    await steps.step(0);
    const lambda = share * count;
    const { gains, weights } = solved(lambda);
    const fits = await times(device, examples, transposed(Float32Array.from(weights), rank, classes), rank);
    const scores = new Float64Array(labels.length * classes);
    let error = 0;
    for (const [i, label] of labels.entries()) {
      if (label < 0) continue;
      let own = 0;
      for (let j = 0; j < rank; j++) own += examples[i * rank + j]! ** 2 * gains[j]!;
      const by = 1 / Math.max(1e-9, 1 - own);
      for (let c = 0; c < classes; c++) {
        const truth = c === label ? 1 : 0;
        const off = (truth - fits[i * classes + c]!) * by;
        scores[i * classes + c] = truth - off;
        error += off * off;
      }
    }
    if (!best || error < best.error) best = { error, lambda, scores };
  }
  const { lambda, scores } = best!;
  const rowOf = (i: number) => scores.subarray(i * classes, (i + 1) * classes);
  const known = labels.flatMap((label, i) => (label >= 0 ? [{ label, scores: rowOf(i) }] : []));
  let fit: { readonly gains: readonly number[]; readonly sum: number; readonly temperature: number } | null = null;
  for (const temperature of TEMPERATURES) {
    await steps.step(0);
    const gains = known.map(({ label, scores: own }) => logShare(own, temperature, label) + Math.log(classes));
    const sum = gains.reduce((all, gain) => all + gain, 0);
    if (!fit || sum > fit.sum) fit = { gains, sum, temperature };
  }
  const right = labels.filter((label, i) => label >= 0 && rowOf(i).every((score) => score <= rowOf(i)[label]!)).length;
  return {
    classes,
    lambda,
    temperature: isMoreThanChance(fit!.gains) ? fit!.temperature : Infinity,
    accuracy: right / count,
    ...solved(lambda),
  };
}
