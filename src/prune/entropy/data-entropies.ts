import type { TrainingData } from '../../datasets/training/data.ts';
import { SequenceEncoder } from '../../datasets/training/encode.ts';
import { type SequenceOptions, sequenceOptions } from '../../datasets/training/options.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { checked } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import { callback, like, type Schema, signal } from '../../options/rules.ts';
import type { EntryStore } from '../../runtime/cache/entries.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import { distributionOf, type EntropyDistribution } from './distribution.ts';
import { type EntropyOptions, entropyOptions } from './options.ts';
import { checkedCut, type EntropySplit, splitEntropies } from './split.ts';

/** Raised when what is stored, or how it is computed, changes. */
const VERSION = 1;
/** Examples of one entry of a store. */
const BLOCK = 64;

export interface DataEntropyOptions extends EntropyOptions, SequenceOptions {
  /** Where they are kept between runs, such as `openEntropyStore` opens. Default: nowhere. */
  readonly store?: EntryStore;
  /** Told of entries that were damaged, and are computed again, and of the first that cannot be written. */
  readonly onWarning?: (warning: EspalierError) => void;
  readonly signal?: AbortSignal;
  /** Examples done and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const dataEntropyOptions = {
  ...entropyOptions,
  ...sequenceOptions,
  store: like<EntryStore>('a store, such as openEntropyStore() makes', (value) =>
    (['find', 'write'] as const).every((name) => typeof (value as EntryStore)[name] === 'function'),
  ),
  onWarning: callback,
  signal,
  onProgress: callback,
} as const satisfies Schema<DataEntropyOptions>;

/** Entropies of one training sequence. */
export interface SequenceEntropies {
  /** [L], of the prediction that each token was to be guessed from; the first is NaN. */
  readonly entropies: Float32Array;
  /** [L] 1: high. */
  readonly high: Uint8Array;
  /** [L] as of the sequence. */
  readonly learned: Uint8Array;
}

/** Entropies of examples, by the model that they were computed with. */
export interface DataEntropies {
  /** Over what is learned, as are shares and percentiles. */
  readonly split: EntropySplit;
  readonly distribution: EntropyDistribution;
  /** Examples whose entropies were computed, and whose were found; `damaged` are among those that were computed. */
  readonly examples: { readonly computed: number; readonly found: number; readonly damaged: number };
  /** The sequences of an example, by its number in the data; none where it was left out as too long. */
  of(example: number): readonly SequenceEntropies[];
}

/**
 * The entropy of every token of examples, from the model as it is: give the one that is to be frozen, which has not memorised them. With a
 * store a second run reads what the first one computed, also one that was interrupted: an entry is of 64 examples, and its key a digest of
 * model, arithmetic, order and tokens.
 * @param examples which: `data.train`, which is the default, or `data.heldOut`
 * @throws E_ARGUMENT for a cut that cannot be reached, E_DATA_INVALID, E_ABORTED, E_OUT_OF_MEMORY, what `scoreBatch` throws
 */
export async function dataEntropies(
  model: LocalModel,
  data: TrainingData,
  options: DataEntropyOptions = {},
  examples: Uint32Array = data.train,
): Promise<DataEntropies> {
  const given = checked<DataEntropyOptions>(dataEntropyOptions, options, 'dataEntropies');
  const { store, onWarning, signal, onProgress } = given;
  const { cut, percentile, fallback, q: order } = given;
  const rules = defined({ cut, percentile, fallback, q: order });
  const { q } = checkedCut(rules, model.config.vocabSize);
  const { loss, maxTokens, long, end, specialTokens } = given;
  const encoder = new SequenceEncoder(model, defined({ loss, maxTokens, long, end, specialTokens }));
  const kept = new Kept(model, q, store ?? null, onWarning);
  const all = new Map<number, { values: Float32Array; learned: Uint8Array }[]>();
  for (let first = 0; first < examples.length; first += BLOCK) {
    throwIfAborted(signal);
    onProgress?.(first, examples.length);
    const numbers = examples.subarray(first, first + BLOCK);
    const lists: TrainingSequence[][] = [];
    for (const number of numbers) lists.push(await encoder.encode(await data.read(number)));
    const values = await kept.entropies(lists.flat(), numbers.length, first, signal);
    let at = 0;
    for (const [i, list] of lists.entries()) {
      all.set(
        numbers[i]!,
        list.map(({ ids, learned }) => {
          const own = new Float32Array(ids.length);
          own[0] = Number.NaN;
          own.set(values.subarray(at, at + ids.length - 1), 1);
          at += ids.length - 1;
          return { values: own, learned };
        }),
      );
    }
  }
  onProgress?.(examples.length, examples.length);
  const counted = [...all.values()].flatMap((list) =>
    list.flatMap(({ values, learned }) => [...values].filter((_, t) => learned[t] === 1)),
  );
  const split = splitEntropies(counted, model.config.vocabSize, rules);
  return {
    split,
    distribution: distributionOf(counted),
    examples: kept.counts,
    of: (example) => {
      const list = all.get(example);
      if (list === undefined) {
        throw new EspalierError('E_ARGUMENT', `There are no entropies of example ${example}.`, 'Ask for one of them.');
      }
      return list.map(({ values, learned }) => ({
        entropies: values,
        high: Uint8Array.from(values, (value) => (value > split.cut ? 1 : 0)),
        learned,
      }));
    },
  };
}

/** Blocks of entropies: out of the store where they are there and whole, and else computed and put there. */
class Kept {
  readonly counts = { computed: 0, found: 0, damaged: 0 };
  readonly #model: LocalModel;
  readonly #q: number;
  readonly #store: EntryStore | null;
  readonly #warn: ((warning: EspalierError) => void) | undefined;
  #unwritten = false;

  constructor(
    model: LocalModel,
    q: number,
    store: EntryStore | null,
    warn: ((warning: EspalierError) => void) | undefined,
  ) {
    this.#model = model;
    this.#q = q;
    this.#store = store;
    this.#warn = warn;
  }

  /** [Σ (L - 1)] of sequences, of each those of its second token on. */
  async entropies(
    sequences: readonly TrainingSequence[],
    examples: number,
    first: number,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    const count = sequences.reduce((sum, { ids }) => sum + ids.length - 1, 0);
    const key = this.#store && (await this.#key(sequences));
    const found = key === null || count === 0 ? 'none' : await this.#store!.find(key, 4 * count);
    if (typeof found !== 'string') {
      const values = new Float32Array(found.slice().buffer);
      if (values.every((value) => value >= 0)) {
        this.counts.found += examples;
        return values;
      }
    }
    if (found !== 'none') {
      this.counts.damaged += examples;
      const what = `Stored entropies of examples ${first + 1} to ${first + examples} in ${this.#store!.name} are damaged.`;
      this.#warn?.(new EspalierError('E_FILE_READ', what, 'They are computed again; look at the storage.'));
    }
    const values = await this.#computed(sequences, count, signal);
    this.counts.computed += examples;
    if (key !== null && count > 0) await this.#write(key, values);
    return values;
  }

  async #computed(
    sequences: readonly TrainingSequence[],
    count: number,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    // the last token predicts nothing that is asked for, and a sequence may have one more than the model has positions
    const scored = await this.#model.scoreBatch(
      sequences.map(({ ids }) => ids.subarray(0, -1)),
      { tsallisOrder: this.#q, ...defined({ signal }) },
    );
    const values = new Float32Array(count);
    let at = 0;
    for (const tokens of scored) {
      for (const { tsallis, entropy } of tokens) values[at++] = tsallis ?? entropy;
    }
    return values;
  }

  async #write(key: string, values: Float32Array): Promise<void> {
    try {
      await this.#store!.write(key, new Uint8Array(values.buffer));
    } catch (cause) {
      if (this.#unwritten) return;
      this.#unwritten = true;
      const { code, message } = cause instanceof EspalierError ? cause : { code: 'E_FILE_WRITE', message: cause };
      const what = `Entropies cannot be kept in ${this.#store!.name}: ${message}`;
      const hint = 'They are computed again in the next run. Free space there, or give another place.';
      this.#warn?.(new EspalierError(code as EspalierError['code'], what, hint, { cause }));
    }
  }

  /** Everything that they depend on. Which kernels a machine takes moves the last bits, and does not count. */
  async #key(sequences: readonly TrainingSequence[]): Promise<string> {
    const { identity, decoder, config } = this.#model;
    const { theta, rotaryDims, layout, scaling, frequencyDivisors } = config.rope;
    const rope = [
      theta,
      rotaryDims,
      layout,
      Object.entries(scaling).sort(),
      frequencyDivisors && [...frequencyDivisors],
    ];
    const texts = sequences.map(({ ids }) => [...ids]);
    return sha256(JSON.stringify(['entropies', VERSION, identity, decoder.precision, rope, this.#q, texts]));
  }
}
