import type { Example } from '../datasets/data.ts';
import type { TaskData } from '../datasets/files.ts';
import { checkedExamples } from '../datasets/format.ts';
import { shuffled } from '../datasets/splits.ts';
import { checkedTemplate, renderShot, type Template } from '../datasets/templates.ts';
import type { LocalModel } from '../model/model.ts';
import { LabelTrie } from '../show/probe/labels.ts';
import { Bm25 } from '../show/rank/bm25.ts';
import type { Shot } from '../show/types.ts';
import type { EvaluateOptions, Preparing } from './options.ts';

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
