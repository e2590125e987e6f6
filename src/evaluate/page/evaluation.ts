import type { TaskData } from '../../datasets/files.ts';
import { checkedExamples, type Example } from '../../datasets/format.ts';
import { type Split, splitExamples } from '../../datasets/splits.ts';
import { EspalierError } from '../../errors.ts';
import { checked, object } from '../../options/check.ts';
import { byName, isOptions, like, listOf, type Rule, type Schema, words } from '../../options/rules.ts';
import { type EvaluateOptions, evaluateOptions } from '../options.ts';
import { isRecord } from '../record-check.ts';
import type { EvaluationRecord, ItemResult } from '../types.ts';

/** Of what `evaluate` was asked: what says which items there are, and what is told of a setting. Anything else is passed over. */
const ASKED = [
  'arms',
  'pool',
  'test',
  'dev',
  'balanced',
  'seed',
  'seeds',
  'instruction',
  'scoring',
  'order',
  'temperature',
  'rank',
  'grid',
  'ensemble',
  'vote',
  'threshold',
  'repair',
  'clusters',
  'fidelity',
  'storage',
] as const satisfies readonly (keyof EvaluateOptions)[];

export type EvaluationSetting = Pick<EvaluateOptions, (typeof ASKED)[number]>;

/** What a report of an evaluation is made of. */
export interface Evaluation {
  /** Of the model and of the data, for people. */
  readonly model: string;
  readonly data: string;
  /** As `evaluate` was given them. */
  readonly options: EvaluationSetting;
  /** What `evaluate` recorded. */
  readonly records: readonly EvaluationRecord[];
  /** The data that were evaluated. Default: the report shows neither queries nor examples. */
  readonly task?: TaskData;
  /** Name of the arm that all are held against. Default: none. */
  readonly against?: string;
  /** When it ran, and what it ran on, such as `model.description`. Default: the report does not say. */
  readonly date?: string;
  readonly device?: Readonly<Record<string, string>>;
  /** How it can be run again, such as a command. */
  readonly command?: string;
}

const options: Rule<EvaluationSetting> = {
  takes: 'the options of evaluate()',
  check: (value, name) => {
    const given = isOptions(value) ? value : {};
    const asked = Object.fromEntries(ASKED.flatMap((key) => (given[key] === undefined ? [] : [[key, given[key]]])));
    const rules = Object.fromEntries(ASKED.map((key) => [key, evaluateOptions[key]]));
    return object<EvaluationSetting>(rules as unknown as Schema<EvaluationSetting>, name, [
      'arms',
      'pool',
      'test',
    ]).check(asked, name);
  },
};

const evaluationFields = {
  model: words,
  data: words,
  options,
  records: listOf(like<EvaluationRecord>('a record, as evaluate() makes', isRecord)),
  task: like<TaskData>('what readTask() gives', (value) => 'train' in value && 'labels' in value),
  against: words,
  date: words,
  device: byName(words),
  command: words,
} as const satisfies Schema<Evaluation>;

/** With records of its arms and seeds alone. @throws E_ARGUMENT */
export function checkedEvaluation(evaluation: Evaluation, what: string): Evaluation {
  const given = checked<Evaluation>(evaluationFields, evaluation, what);
  for (const name of ['model', 'data', 'options', 'records'] as const) {
    if (given[name] === undefined) {
      throw new EspalierError('E_ARGUMENT', `There is no ${name}.`, `Give ${evaluationFields[name].takes}.`);
    }
  }
  const { arms, seed = 0, seeds = 1 } = given.options;
  const names = new Set(arms.map(({ name }) => name));
  const own = given.records.filter((one) => names.has(one.arm) && one.seed >= seed && one.seed < seed + seeds);
  if (given.task) checkedExamples(given.task.train, 'task.train');
  return { ...given, records: own };
}

/** The texts that records are of, drawn again seed by seed. */
export class Texts {
  readonly #evaluation: Evaluation;
  readonly #splits = new Map<number, Split>();

  constructor(evaluation: Evaluation) {
    this.#evaluation = evaluation;
  }

  /** What was asked; null without data. @throws E_ARGUMENT where the data are others than those of the record */
  input({ seed, item, truth }: Pick<ItemResult, 'seed' | 'item' | 'truth'>): string | null {
    const split = this.#split(seed);
    if (!split) return null;
    const found = split.test[item];
    if (found?.output === truth) return found.input;
    throw new EspalierError(
      'E_ARGUMENT',
      `Item ${item} of seed ${seed} is another one.`,
      'Give the data that were evaluated.',
    );
  }

  /** Examples by their ids; null without data. */
  shots({ seed, shown }: Pick<ItemResult, 'seed' | 'shown'>): readonly Example[] | null {
    const split = this.#split(seed);
    return split && (shown ?? []).flatMap((id) => split.pool[Number(id)] ?? []);
  }

  #split(seed: number): Split | null {
    const { task, options } = this.#evaluation;
    if (!task) return null;
    const known = this.#splits.get(seed);
    if (known) return known;
    const { pool, test, dev = 0, balanced = false } = options;
    const split = splitExamples(task, { pool, test, dev, balanced, seed });
    this.#splits.set(seed, split);
    return split;
  }
}
