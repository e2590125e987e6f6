import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { uniform } from '../../random.ts';
import { type SamplingOptions, samplingOptions } from './options.ts';

/** The likeliest tokens of one row of logits, likeliest first, before any penalty. Equal logits stand by ascending id. */
export interface Candidates {
  readonly ids: Int32Array;
  readonly logits: Float32Array;
}

/** The tokens that may be drawn, likeliest first, with their probabilities. */
export interface Distribution {
  readonly ids: readonly number[];
  readonly probabilities: readonly number[];
}

const NOTHING: ReadonlySet<number> = new Set();

/**
 * Draws tokens from logits. It keeps no state: what is drawn depends on the options, the logits, the step and the tokens
 * seen, and nothing else.
 *
 * One readback a step is enough when the options keep few tokens: read `candidatesWanted` of them from the device and call
 * `sampleTop`. It answers only where the candidates prove the answer, exactly as `sampleFull` would, and null otherwise.
 *
 * Where logits are equal, the lower id counts as likelier, so that top-k keeps exactly k (Hugging Face keeps all ties).
 */
export class Sampler {
  readonly options: Required<SamplingOptions>;

  /** @throws E_ARGUMENT naming the option that is out of range */
  constructor(options: SamplingOptions = {}) {
    // of a generation's options only these
    const own = Object.keys(samplingOptions).map((name) => [name, options[name as keyof SamplingOptions]]);
    const given = checked<SamplingOptions>(samplingOptions, Object.fromEntries(own), 'sampling');
    this.options = Object.freeze(filled(samplingOptions, given));
  }

  /** Whether no random number is drawn. */
  get greedy(): boolean {
    return this.options.temperature === 0 || this.options.topK === 1;
  }

  /**
   * How many candidates to read from the device so that `sampleTop` can answer, as a rule; 0 when only the full row will
   * do. With a repetition penalty a few more are wanted, for those that it pushes down.
   */
  get candidatesWanted(): number {
    const { topK, topP, minP, repetitionPenalty } = this.options;
    if (repetitionPenalty < 1) return 0;
    const kept = this.greedy ? 1 : topK > 0 ? topK : topP === 1 && minP > 0 ? 64 : 0;
    return kept > 0 && repetitionPenalty > 1 ? kept + 32 : kept;
  }

  /**
   * Draws from the full row of logits.
   *
   * @param step the how-manyth token this is: the counter of the random number
   * @param seen ids of the prompt and of what was drawn, for the repetition penalty
   * @throws E_ARGUMENT when the row is empty, or holds NaN, or no finite logit
   */
  sampleFull(logits: Float32Array, step: number, seen: ReadonlySet<number> = NOTHING): number {
    const { topK, topP, minP, temperature, seed } = this.options;
    if (this.greedy || topK > 0 || topP < 1 || minP > 0) return this.#draw(this.distribution(logits, seen), step);
    // nothing is filtered: no list of the whole vocabulary is needed
    const values = this.#penalised(logits, seen);
    const top = highest(values);
    const drawn = uniform(seed, step) * massOf(values, top, temperature);
    let cumulative = 0;
    let last = 0;
    for (let id = 0; id < values.length; id++) {
      const weight = Math.exp((values[id]! - top) / temperature);
      if (weight === 0) continue;
      cumulative += weight;
      if (drawn < cumulative) return id;
      last = id;
    }
    return last;
  }

  /**
   * Draws from the likeliest tokens of a row alone; null where they do not prove what the full row would give.
   *
   * @param vocabSize length of the full row
   */
  sampleTop(
    candidates: Candidates,
    vocabSize: number,
    step: number,
    seen: ReadonlySet<number> = NOTHING,
  ): number | null {
    const kept = this.#provenTop(candidates, vocabSize, seen);
    return kept === null ? null : this.#draw(this.#filter(kept.ids, kept.values, null), step);
  }

  /** The distribution that `sampleFull` draws from; in the order of ids when no option filters. @throws E_ARGUMENT as it does */
  distribution(logits: Float32Array, seen: ReadonlySet<number> = NOTHING): Distribution {
    const values = this.#penalised(logits, seen);
    const top = highest(values);
    const { topK, topP, minP } = this.options;
    if (this.greedy) return { ids: [values.indexOf(top)], probabilities: [1] };
    const temperature = this.options.temperature;

    let mass = 0;
    if (topK === 0 && (topP < 1 || minP === 0)) mass = massOf(values, top, temperature);
    if (topK === 0 && topP === 1 && minP === 0) {
      const ids = Array.from(values.keys());
      return { ids, probabilities: ids.map((id) => Math.exp((values[id]! - top) / temperature) / mass) };
    }
    // Only the head of the row is put in order: widen it until it holds all that the filters can keep.
    for (let depth = 1; ; depth *= 1.5) {
      const all = depth > 1000;
      const floor = all ? -Number.MAX_VALUE : top - depth * temperature;
      const ids: number[] = [];
      for (let id = 0; id < values.length; id++) if (values[id]! >= floor) ids.push(id);
      let enough = all || (topK > 0 ? ids.length >= topK : Math.exp(-depth) < minP);
      if (!enough && topK === 0 && topP < 1) {
        let held = 0;
        for (const id of ids) held += Math.exp((values[id]! - top) / temperature);
        enough = held > topP * mass * (1 + 1e-9);
      }
      if (!enough) continue;
      ids.sort((a, b) => values[b]! - values[a]! || a - b);
      const head = ids.map((id) => values[id]!);
      return this.#filter(ids, head, topK > 0 || topP === 1 ? null : mass);
    }
  }

  #penalised(logits: Float32Array, seen: ReadonlySet<number>): Float32Array | Float64Array {
    const { repetitionPenalty } = this.options;
    if (repetitionPenalty === 1 || seen.size === 0) return logits;
    const values = Float64Array.from(logits);
    for (const id of seen) if (id >= 0 && id < values.length) values[id] = penalise(values[id]!, repetitionPenalty);
    return values;
  }

  /** The candidates that can be drawn, penalised and in order, if the tokens outside the candidates cannot be among them. */
  #provenTop(
    { ids, logits }: Candidates,
    vocabSize: number,
    seen: ReadonlySet<number>,
  ): { ids: number[]; values: number[] } | null {
    const { topK, topP, minP, temperature, repetitionPenalty } = this.options;
    if (ids.length === 0 || ids.length !== logits.length || !Number.isFinite(logits[0])) {
      throw badLogits('are no list of candidates, or hold no finite value');
    }
    const complete = ids.length >= vocabSize;
    const penalty = repetitionPenalty !== 1 && seen.size > 0;
    // a reward may lift a token from outside the candidates
    if (penalty && repetitionPenalty < 1 && !complete) return null;
    const order = Array.from(ids, (id, i) => {
      const logit = logits[i]!;
      return { id, value: penalty && seen.has(id) ? penalise(logit, repetitionPenalty) : logit };
    });
    if (penalty) order.sort((a, b) => b.value - a.value || a.id - b.id);
    // No token outside has a higher logit than the last candidate, and a penalty only lowers it: whatever stands above that
    // edge stands where it would in the full row. Without a penalty the edge itself does too.
    const edge = complete ? Number.NEGATIVE_INFINITY : logits[logits.length - 1]!;
    let proven = order.length;
    if (penalty && !complete) while (proven > 0 && order[proven - 1]!.value <= edge) proven--;

    const limit = this.greedy ? 1 : topK;
    let kept: number;
    if (limit > 0) {
      if (limit > proven && !complete) return null;
      kept = Math.min(limit, order.length);
    } else {
      // top-p needs the mass of the whole row; min-p alone only needs all tokens above its threshold
      if (topP < 1 || minP === 0) return null;
      if (!complete && Math.exp((edge - order[0]!.value) / temperature) >= minP) return null;
      kept = order.length;
    }
    const top = order.slice(0, kept).filter(({ value }) => value !== Number.NEGATIVE_INFINITY);
    return { ids: top.map(({ id }) => id), values: top.map(({ value }) => value) };
  }

  /**
   * Top-k, top-p and min-p over tokens in order, and their probabilities.
   *
   * @param mass of the full row relative to its top, where top-k does not bound it
   */
  #filter(ids: readonly number[], values: readonly number[], mass: number | null): Distribution {
    if (this.greedy) return { ids: [ids[0]!], probabilities: [1] };
    const { temperature, topK, topP, minP } = this.options;
    let n = topK > 0 ? Math.min(topK, ids.length) : ids.length;
    const top = values[0]!;
    const weights = new Array<number>(n);
    let sum = 0;
    for (let i = 0; i < n; i++) sum += weights[i] = Math.exp((values[i]! - top) / temperature);
    if (topP < 1) {
      const limit = topP * (mass ?? sum);
      let above = 0;
      let keep = 0;
      while (keep < n && (keep === 0 || above < limit)) above += weights[keep++]!;
      n = keep;
    }
    if (minP > 0) while (n > 1 && weights[n - 1]! < minP) n--;
    sum = 0;
    for (let i = 0; i < n; i++) sum += weights[i]!;
    return { ids: ids.slice(0, n), probabilities: weights.slice(0, n).map((weight) => weight / sum) };
  }

  #draw({ ids, probabilities }: Distribution, step: number): number {
    if (ids.length === 1) return ids[0]!;
    const drawn = uniform(this.options.seed, step);
    let cumulative = 0;
    for (let i = 0; i < ids.length - 1; i++) {
      cumulative += probabilities[i]!;
      if (drawn < cumulative) return ids[i]!;
    }
    return ids[ids.length - 1]!;
  }
}

/** @throws E_ARGUMENT for NaN, infinity, or nothing finite */
function highest(values: ArrayLike<number>): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < values.length; id++) {
    const value = values[id]!;
    if (value > top) top = value;
    else if (Number.isNaN(value)) throw badLogits('hold NaN');
  }
  if (!Number.isFinite(top)) throw badLogits('hold no finite value, or infinity');
  return top;
}

/** The sum over the row, relative to its top. */
function massOf(values: ArrayLike<number>, top: number, temperature: number): number {
  let mass = 0;
  for (let id = 0; id < values.length; id++) mass += Math.exp((values[id]! - top) / temperature);
  return mass;
}

function penalise(logit: number, penalty: number): number {
  return logit < 0 ? logit * penalty : logit / penalty;
}

function badLogits(what: string): EspalierError {
  return new EspalierError(
    'E_ARGUMENT',
    `The logits ${what}.`,
    'Check the model’s weights and the call that made them.',
  );
}
