import { type DataSource, openTrainingData, type TrainingData } from '../../datasets/training/data.ts';
import { type TrainingDataOptions, trainingDataOptions } from '../../datasets/training/options.ts';
import { EspalierError } from '../../errors.ts';
import { named } from '../../named-errors.ts';
import { checked } from '../../options/check.ts';
import { oneOf, type Schema } from '../../options/rules.ts';
import { findOverlaps, type Overlaps, type SameBy } from './overlap.ts';

export interface ForgetRetainOptions extends Omit<TrainingDataOptions, 'heldOut' | 'seed' | 'onProgress'> {
  /**
   * What may not stand in both sets: a `question`, or only a question with the same `answer`, for sets that answer the same questions in
   * two ways. Default `question`.
   */
  readonly apart?: SameBy;
  /** Of reading both and comparing them: done and in all, in shares. */
  readonly onProgress?: (done: number, total: number) => void;
}

const { heldOut: _, seed: __, ...reading } = trainingDataOptions;

export const forgetRetainOptions = {
  ...reading,
  apart: oneOf('question', 'answer'),
} as const satisfies Schema<ForgetRetainOptions>;

/** What is to be forgotten and what is to be kept. End it with `close`. */
export interface ForgetRetain {
  readonly forget: TrainingData;
  readonly retain: TrainingData;
  /** Digests of all bytes, and of the options that say what they mean. */
  readonly digests: { readonly forget: string; readonly retain: string };
  close(): Promise<void>;
}

/**
 * Opens both sets, as `openTrainingData` does, and refuses them where an example is in both: no training could serve both sides.
 * @throws E_DATA_INVALID with the first ten that are in both, and how many are; what `openTrainingData` throws
 */
export async function openForgetRetain(
  sources: {
    readonly forget: DataSource | readonly DataSource[];
    readonly retain: DataSource | readonly DataSource[];
  },
  options: ForgetRetainOptions = {},
): Promise<ForgetRetain> {
  const given = checked<ForgetRetainOptions>(forgetRetainOptions, options, 'openForgetRetain()');
  const { apart = 'question', onProgress: _, ...shared } = given;
  const open: TrainingData[] = [];
  const close = async (): Promise<void> => {
    for (const data of open) await data.close();
  };
  // each is read twice: when it is opened, and when it is compared
  const part = (i: number) => (done: number, total: number) => given.onProgress?.(i + done / (total || 1), 3);
  try {
    open.push(await named('forget', openTrainingData(sources.forget, { ...shared, onProgress: part(0) })));
    open.push(await named('retain', openTrainingData(sources.retain, { ...shared, onProgress: part(1) })));
    const [forget, retain] = open as [TrainingData, TrainingData];
    const { signal } = given;
    const found = await findOverlaps(forget, retain, apart, { ...(signal && { signal }), onProgress: part(2) });
    if (found.count > 0) throw overlapping(found, retain.count, apart);
    return { forget, retain, digests: { forget: forget.digest, retain: retain.digest }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function overlapping({ count, first }: Overlaps, kept: number, apart: SameBy): EspalierError {
  const list = first.map(({ forget, retain, text }) => `${retain} (${forget}): ${JSON.stringify(text.slice(0, 80))}`);
  const more = count > first.length ? `; and ${count - first.length} more` : '';
  const by = apart === 'question' ? 'by what they ask' : 'by question and answer';
  return new EspalierError(
    'E_DATA_INVALID',
    `Of ${kept} examples to keep ${count} ${count === 1 ? 'is' : 'are'} among those to forget, ${by}: ${list.join('; ')}${more}.`,
    `Remove them from one of the sets${apart === 'question' ? ', or give `apart: "answer"` where only the same answer makes them the same' : ''}.`,
  );
}
