import { EspalierError } from '../errors.ts';
import { checked } from '../options/check.ts';
import { uniform } from '../random.ts';
import { checkedExamples, type Example } from './format.ts';
import { type SplitOptions, splitOptions } from './options.ts';

/** Streams of random numbers, so that one choice does not move another. 0 belongs to sampling. */
const STREAM = { test: 64, dev: 65, pool: 66 } as const;

export interface SplitSources {
  readonly train: readonly Example[];
  /** Default: taken from `train`. */
  readonly dev?: readonly Example[] | undefined;
  /** Default: taken from `train`. */
  readonly test?: readonly Example[] | undefined;
}

export interface Split {
  readonly pool: readonly Example[];
  readonly dev: readonly Example[];
  readonly test: readonly Example[];
  /** Other examples of the training data with the input of a test or development item: they are in no pool. */
  readonly leaks: number;
}

/**
 * Chooses a pool, development items and test items, each in random order, the same for a seed in every runtime. No input occurs
 * twice in a part or in two parts: inputs are the same when they differ in case, white space and signs that nobody sees alone.
 *
 * @throws E_ARGUMENT for counts that are no integers from 0 on, and where there are fewer examples
 */
export function splitExamples(sources: SplitSources, options: SplitOptions): Split {
  const given = checked<SplitOptions>(splitOptions, options, 'splitExamples()');
  const { pool, dev = 0, test, balanced = false, seed = 0 } = given;
  for (const [name, count] of Object.entries({ pool, test })) {
    if (count === undefined)
      throw new EspalierError('E_ARGUMENT', `There is no ${name}.`, 'Give an integer from 0 on.');
  }
  checkedExamples(sources?.train, 'train');
  if (sources.dev) checkedExamples(sources.dev, 'dev');
  if (sources.test) checkedExamples(sources.test, 'test');
  const used = new Set<string>();
  const chosen = (name: keyof typeof STREAM, from: readonly Example[], count: number): Example[] => {
    const fresh = unused(from, used);
    const order = shuffled(fresh, seed, STREAM[name]);
    const list = (name === 'pool' && balanced ? byTurns(order) : order).slice(0, count);
    if (list.length < count) {
      throw new EspalierError(
        'E_ARGUMENT',
        `${count} ${name} examples are asked for, and there are ${list.length}.`,
        'Ask for fewer, or give more data.',
      );
    }
    for (const example of list) used.add(sameInput(example.input));
    return list;
  };
  const testItems = chosen('test', sources.test ?? sources.train, test);
  const devItems = chosen('dev', sources.dev ?? sources.train, dev);
  const chosenItems = new Set([...testItems, ...devItems]);
  const leaks = sources.train.filter((e) => used.has(sameInput(e.input)) && !chosenItems.has(e)).length;
  return { pool: chosen('pool', sources.train, pool), dev: devItems, test: testItems, leaks };
}

/** Soft hyphens, and marks of no width that join nothing: what is copied from a page may hold them. */
const UNSEEN = /[\u00ad\u200b\u2060]/g;

/** Two inputs with the same key count as one. */
export function sameInput(input: string): string {
  // by way of capitals: ß is SS there, and ς and σ are one letter. The ı without a dot is not i, and its capital is I
  const folded = input
    .normalize('NFC')
    .replace(/[^ı]+/g, (text) => text.toUpperCase())
    .toLowerCase();
  return folded.replace(UNSEEN, '').normalize('NFC').replace(/\s+/g, ' ').trim();
}

/** How many inputs there are: as many examples as a pool can have. */
export function distinctInputs(examples: readonly Example[]): number {
  return new Set(examples.map(({ input }) => sameInput(input))).size;
}

/** The first of every input that is not used. */
function unused(examples: readonly Example[], used: ReadonlySet<string>): Example[] {
  const seen = new Set(used);
  return examples.filter(({ input }) => {
    const key = sameInput(input);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** One of each output, then a second of each, …, as far as there are; within an output the order stays. */
function byTurns(examples: readonly Example[]): Example[] {
  const turn = new Map<string, number>();
  const keyed = examples.map((example, at) => {
    const round = turn.get(example.output) ?? 0;
    turn.set(example.output, round + 1);
    return { example, round, at };
  });
  return keyed.sort((a, b) => a.round - b.round || a.at - b.at).map(({ example }) => example);
}

/**
 * A list in random order (Fisher and Yates), the same for a seed and a stream.
 * @param seed an integer from 0 to 2^53 - 1
 * @param stream tells apart uses that share a seed (0 to 2^32 - 1)
 */
export function shuffled<T>(list: readonly T[], seed: number, stream: number): T[] {
  const order = list.slice();
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(uniform(seed, i, stream) * (i + 1));
    const x = order[i]!;
    order[i] = order[j]!;
    order[j] = x;
  }
  return order;
}
