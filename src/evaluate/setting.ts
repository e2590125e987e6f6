import type { Example } from '../datasets/data.ts';
import type { TaskData } from '../datasets/files.ts';
import { type SplitOptions, shuffled } from '../datasets/splits.ts';
import { renderShot, type Template } from '../datasets/templates.ts';
import type { EspalierError } from '../errors.ts';
import type { LocalModel } from '../model/model.ts';
import { checkedExamples, checkedTemplate } from '../options/show-data.ts';
import { LabelTrie } from '../show/probe/labels.ts';
import { Bm25 } from '../show/rank/bm25.ts';
import type { Grid, NearestVote, RankMethod, Shot, ShotOrder, ShotStore, StorageType } from '../show/types.ts';
import type { Arm } from './arms.ts';
import type { EvaluationRecord } from './types.ts';

export interface EvaluateOptions extends SplitOptions {
  readonly arms: readonly Arm[];
  readonly template: Template;
  /** Stands before all shots. Default: nothing. */
  readonly instruction?: string;
  /** Each seed draws pool, items and random shots anew: seed, seed + 1, … Default 1. */
  readonly seeds?: number;
  /** `sum` (S2, default), or `greedy` (S1); of all arms alike. */
  readonly scoring?: 'sum' | 'greedy';
  /** Of ranked shots. Default: best-nearest in fixed arms, and as the preset has it in adaptive ones. Random ones have one order. */
  readonly order?: ShotOrder;
  /** Of arms that reuse shots; default: as the preset has it. */
  readonly temperature?: number;
  /** Ranking of the arm `label`; default: as the preset has it. `parity` has the paper's. */
  readonly rank?: RankMethod;
  /** Counts that adaptive arms try; default: as the preset has it. */
  readonly grid?: Grid;
  /** Of adaptive arms but `parity`; default: as the preset has it. */
  readonly ensemble?: 'one' | 'all';
  readonly vote?: NearestVote | null;
  /** Entropy that is sure enough for adaptive arms; default: as the preset has it, or fitted where `dev` is above 0. */
  readonly threshold?: number;
  /** Tokens that the arms `repair` compute again. Default 8. */
  readonly repair?: number;
  /** Chains of the arms `chains`. Default 16. */
  readonly clusters?: number;
  /** So many items of each arm that reuses shots are compared with full attention. Default 0. */
  readonly fidelity?: number;
  readonly storage?: StorageType;
  /** Most bytes of stored keys and values. Default 1 GiB. */
  readonly byteLimit?: number;
  readonly store?: ShotStore | null;
  /** As in `PoolOptions`. */
  readonly onWarning?: (warning: EspalierError) => void;
  /**
   * Part `part` of `of` parts, from 1 on: of the test items only every `of`-th. What all parts found out together is what one run would have.
   * Default: all items.
   */
  readonly shard?: Shard;
  /** What an earlier run has found out: it is not done again. */
  readonly done?: Iterable<EvaluationRecord>;
  /** Called with each record as soon as it is there, and waited for. */
  readonly onRecord?: (record: EvaluationRecord) => Promise<void> | void;
  readonly onProgress?: (progress: EvaluationProgress) => void;
  readonly signal?: AbortSignal;
}

/** One of several runs that share the items. */
export interface Shard {
  readonly part: number;
  readonly of: number;
}

export interface EvaluationProgress {
  readonly arm: string;
  /** Items of all arms and seeds; of a part, its own. */
  readonly done: number;
  readonly total: number;
  /** What an arm needs before its items; null while it answers. */
  readonly preparing: Preparing | null;
}

/** Shots of a pool that are encoded, parts of chains that are read, or development items that are answered. */
export interface Preparing {
  readonly what: 'encoding' | 'reading' | 'calibrating';
  readonly done: number;
  readonly total: number;
}

/** One seed's data, and what all arms share. */
export interface Setting {
  readonly model: LocalModel;
  readonly options: EvaluateOptions;
  readonly seed: number;
  readonly labels: readonly string[];
  readonly trie: LabelTrie;
  readonly shots: readonly Shot[];
  readonly dev: readonly Example[];
  /** Ids of the shots, best first, with scores. */
  rank(input: string): readonly { readonly id: string; readonly score: number }[];
  /** The same shots for every item. */
  readonly random: readonly string[];
  /** Tells what an arm needs before its items. */
  preparing(what: Preparing['what'], done: number, total: number): void;
}

/** Tells the order of random shots from other draws with the same seed. */
const STREAM = 81;

export function settingOf(
  model: LocalModel,
  task: TaskData,
  pool: readonly Example[],
  dev: readonly Example[],
  options: EvaluateOptions,
  seed: number,
  preparing: Setting['preparing'] = () => {},
): Setting {
  const { template } = options;
  const shots = shotsOf(template, pool);
  const words = new Bm25();
  for (const { id, input } of shots) words.add(id, input!);
  return {
    model,
    options,
    seed,
    labels: task.labels,
    trie: LabelTrie.create(model.tokenizer, task.labels, { prompt: template.output }),
    shots,
    dev,
    rank: (input) => words.rank(input),
    preparing,
    random: shuffled(
      shots.map(({ id }) => id),
      seed,
      STREAM,
    ),
  };
}

/** Examples as shots of a label task; ids are numbers of one length, so that their order is that of the pool. */
export function shotsOf(template: Template, examples: readonly Example[]): readonly Shot[] {
  checkedTemplate(template);
  checkedExamples(examples, 'examples');
  const digits = String(examples.length - 1).length;
  return examples.map((example, i) => ({
    id: String(i).padStart(digits, '0'),
    text: renderShot(template, example),
    label: example.output,
    input: example.input,
  }));
}

/** Positions that stay free behind a chain. */
const QUERY_ROOM = 256;

/** As many of the first shots as fit the model's context, with some room for a query. */
export function fittingShots(model: LocalModel, shots: readonly Shot[], instruction = ''): readonly Shot[] {
  let room = model.config.maxPositions - model.encode(instruction).length - QUERY_ROOM;
  const beyond = shots.findIndex(({ text }) => {
    room -= model.tokenizer.encode(text, { addSpecialTokens: false }).length;
    return room < 0;
  });
  return beyond < 0 ? shots : shots.slice(0, beyond);
}
