import { DATA_FORMATS, type DataFormat } from '../../datasets/data.ts';
import { type DataFiles, readTask, type TaskData } from '../../datasets/files.ts';
import { dataFormat } from '../../datasets/options.ts';
import { namedTemplate, type Template, templateOf } from '../../datasets/templates.ts';
import type { Model } from '../../engine/model/model.ts';
import type { SentRanking } from '../../engine/show/options.ts';
import { DEFAULT_ARMS } from '../../evaluate/arms.ts';
import { evaluateOptions, type Shard } from '../../evaluate/options.ts';
import { defined } from '../../options/defined.ts';
import type { AnyRule, Rule } from '../../options/rules.ts';
import * as rules from '../../options/rules.ts';
import { askOptions, showOptions } from '../../show/answer/options.ts';
import { poolOptions } from '../../show/pool/options.ts';
import { RANK_NAMES, RANKINGS, type RankName } from '../../show/rank/rankings.ts';
import type { NearestVote, PrefixMode, RidgePrior, WorkEstimate } from '../../show/types.ts';
import type { Values } from './command.ts';
import {
  adapterArgument,
  deviceArgument,
  exactArgument,
  jsonArgument,
  lanesArgument,
  modelArgument,
  openWithProgress,
} from './common.ts';
import { formatBytes, formatCount, formatDuration } from './format.ts';
import type { Io } from './io.ts';

/** A flag with a value that a rule reads and checks. */
const flag = <R extends AnyRule>(description: string, rule: R, value?: string) => {
  return { type: 'string', description, rule, ...(value !== undefined && { value }) } as const;
};

/** Numbers with commas between. */
const numbers = (least: number): Rule<readonly number[]> => {
  const list = rules.listOf(rules.whole(least, 1e6), 1);
  return {
    ...list,
    takes: `whole numbers from ${least} on with commas between`,
    parse: (text) => text.split(',').map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : part)),
  };
};

/** A rule for what a shell says in fewer words than a program: `read` gives null for what says nothing. */
function said<T>(takes: string, read: (text: string) => { readonly value: T } | null): Rule<T> {
  return {
    takes,
    check: (text, name) => {
      const found = typeof text === 'string' ? read(text) : null;
      if (found) return found.value;
      throw rules.refusal(name, text, takes);
    },
  };
}

const prefix: Rule<PrefixMode> = said<PrefixMode>(
  'bare, prefixed, recompute, repair:N, or blocks:N from 1 on',
  (text) => {
    if (text === 'bare' || text === 'prefixed' || text === 'recompute') return { value: text };
    const [, kind, digits] = /^(repair|blocks):(\d{1,6})$/.exec(text) ?? [];
    const count = Number(digits);
    if (kind === 'repair') return { value: { repair: count } };
    return kind === 'blocks' && count > 0 ? { value: { blocks: count } } : null;
  },
);

const vote: Rule<NearestVote | null> = said('N:W, such as 16:1, or 0', (text) => {
  if (text === '0') return { value: null };
  const [, neighbours, weight] = /^([1-9]\d{0,5}):(\d{1,3}(?:\.\d+)?)$/.exec(text) ?? [];
  return neighbours === undefined ? null : { value: { neighbours: Number(neighbours), weight: Number(weight) } };
});

const ridge: Rule<RidgePrior | null> = said('W:M:N, such as 1:0.3:8, or 0', (text) => {
  if (text === '0') return { value: null };
  const [, weight, modelWeight, candidates] =
    /^(\d{1,3}(?:\.\d+)?):(\d{1,3}(?:\.\d+)?):([1-9]\d{0,5})$/.exec(text) ?? [];
  if (candidates === undefined || Number(candidates) < 2) return null;
  return {
    value: { weight: Number(weight), modelWeight: Number(modelWeight), candidates: Number(candidates) },
  };
});

const shard: Rule<Shard> = said('K/N, such as 1/4: K from 1 to N', (text) => {
  const [, part = 0, of = 0] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  return 1 <= part && part <= of ? { value: { part, of } } : null;
});

export const count = (least: number): Rule<number> => rules.whole(least, 1e9);
export const text = rules.words;

/** Arguments that all commands of `show` share. */
export const showArguments = {
  model: modelArgument,
  data: { ...flag(`Format of the data: ${DATA_FORMATS.join(', ')}`, dataFormat), required: true },
  path: { ...flag('File of training data, or a folder with files under their published names', text), required: true },
  template: flag('qa, math, …, or two texts ("Question:|Type:"); default: as the data are usually prompted', text),
  instruction: flag('Stands before all examples', text),
  pool: flag('Examples in the pool (1024, or all there are)', count(1)),
  balanced: { type: 'boolean', description: 'Equally many examples of every label', default: false },
  seed: flag('Draws the pool (0)', rules.whole(0)),
  storage: flag('How keys and values are stored: int8, int4, f16 or f32', poolOptions.storage),
  store: flag('A folder where encoded examples are kept between runs; "default" is one in the cache', text),
  adapter: adapterArgument,
  exact: { ...exactArgument, description: 'f32 activations for quantised weights: slower, exact' },
  device: deviceArgument,
  lanes: lanesArgument,
  json: jsonArgument,
} as const;

export const prefixArgument = flag(
  'What examples see while they are encoded: bare, prefixed, repair:N, blocks:N, recompute',
  prefix,
);

/** Rankings of the command line. */
const OFFERED = RANK_NAMES.filter((name) => !RANKINGS[name].control);

/** How queries are answered. */
export const answerArguments = {
  rank: flag(`contrast, ${OFFERED.join(', ')} or random`, rules.oneOf('contrast', ...OFFERED, 'random')),
  grid: flag('Counts of examples to try, with commas between; default: as the preset', numbers(0)),
  order: flag('best-first or best-nearest', showOptions.order),
  temperature: flag('Keys of examples are divided by this', showOptions.temperature),
  ensemble: flag('one or all: whether smaller counts that were tried count too', showOptions.ensemble),
  vote: flag("N:W: the N nearest examples' labels vote with weight W; 0 for no vote", vote),
  ridge: flag(
    'W:M:N: ridge regression of the labels counts W, the model M, which is asked for the N likeliest; 0 for none',
    ridge,
  ),
  threshold: flag('Entropy that is sure enough', showOptions.threshold),
} as const;

export const askArguments = {
  preset: flag('label, generate or parity (label where the data have labels)', showOptions.preset),
  shots: flag('Use exactly so many examples, and try nothing', askOptions.shots),
  'max-tokens': flag('Most tokens of a free answer (256)', showOptions.maxTokens),
} as const;

export const evalArguments = {
  'test-path': flag('File of test data; default: of the folder or file, else taken from the training data', text),
  'dev-path': flag('File of development data; default: the same', text),
  arms: flag(`What to measure (${DEFAULT_ARMS}); docs/showing.md names all`, text),
  counts: flag('Numbers of examples that names of arms stand for (4,8,16,32,64,128)', numbers(1)),
  items: flag('Test items (250)', count(1)),
  dev: flag('Development items, to fit the threshold of adaptive arms on (0: not fitted)', count(0)),
  seeds: flag('Draws of pool and items', evaluateOptions.seeds),
  scoring: flag('sum or greedy: how labels are scored', evaluateOptions.scoring),
  repair: flag('Tokens that the arms repair compute again', evaluateOptions.repair),
  clusters: flag('Chains of the arms chains', evaluateOptions.clusters),
  fidelity: flag('Items of arms that reuse examples to compare with full attention (0)', count(0)),
  against: flag('The arm that the others are held against', text),
  out: flag('A file for the results of every item; a run that was interrupted goes on with it', text),
  html: flag('A file for a report as one HTML page, with items to open', text),
  markdown: flag('A file for the same report in Markdown', text),
  shard: flag('K/N: answer only every N-th item, from the K-th on; several runs share the items', shard),
  join: {
    ...flag('A file of another run of the same evaluation: what it found goes into --out', text),
    many: true,
  },
} as const;

/** Ranking by its name; random is drawn by the seed of the pool. */
export function rankOf(rank: RankName | 'contrast' | 'random' | undefined, seed = 0): SentRanking | undefined {
  return rank === 'random' ? { random: seed } : rank;
}

type Args = Values<typeof showArguments>;

/** @throws E_ARGUMENT, E_FILE_…, E_DATA_INVALID */
export async function dataOf(
  { data, path, template: named }: Args,
  files: Omit<DataFiles, 'path'> = {},
): Promise<{ format: DataFormat; task: TaskData; template: Template }> {
  const template = named === undefined ? templateOf(data) : namedTemplate(named);
  return { format: data, task: await readTask(data, { path, ...files }), template };
}

/** What is ahead, before it starts and when it is known how long it takes. */
export function describeWork({ shots, tokens, bytes, seconds }: WorkEstimate): string {
  const what = `${shots} examples of ${formatCount(tokens)} tokens, ${formatBytes(bytes)} of keys and values`;
  return seconds === null ? `to encode: ${what}` : `about ${formatDuration(seconds)} left for ${what}`;
}

/** Where encoded examples are kept; null: nowhere. */
export function storeOf({ store: folder }: Args): string | true | null {
  return folder === 'default' ? true : (folder ?? null);
}

/** The model in a worker that can show it examples; a progress bar on stderr. */
export function openForShots(
  { model: target, adapter: adapters, device, lanes, exact, json }: Args,
  io: Io,
  signal: AbortSignal,
): Promise<Model> {
  const precision = exact ? 'exact' : 'int8';
  return openWithProgress(target, { lanes, precision, ...defined({ device, adapters }), show: true, signal }, json, io);
}
