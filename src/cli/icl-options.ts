import { DATA_FORMATS, type DataFormat } from '../adapshot/data.ts';
import { type DataFiles, readTask, type TaskData } from '../adapshot/data-files.ts';
import { openShotStore } from '../adapshot/store.ts';
import { namedTemplate, type Template, templateOf } from '../adapshot/templates.ts';
import type { NearestVote, PrefixMode, RankMethod, ShotOrder, ShotStore, StorageType } from '../adapshot/types.ts';
import { WasmDevice } from '../device/wasm/wasm-device.ts';
import { EspalierError } from '../errors.ts';
import type { LocalModel } from '../model/model.ts';
import { openLocal } from '../open-local.ts';
import { host } from '../runtime/host.ts';
import { laneCount } from '../runtime/lane-count.ts';
import { exactArgument, jsonArgument, lanesArgument, modelArgument, numberOf } from './common.ts';
import { formatBytes, Progress } from './format.ts';

const text = (description: string) => ({ type: 'string', description }) as const;

/** Arguments that all commands of `icl` share. */
export const iclArguments = {
  model: modelArgument,
  data: { ...text(`Format of the data: ${DATA_FORMATS.join(', ')}`), required: true },
  path: { ...text('File of training data, or a folder with files under their published names'), required: true },
  template: text('qa, math, …, or two texts ("Question:|Type:"); default: as the data are usually prompted'),
  instruction: text('Stands before all examples'),
  pool: text('Examples in the pool (1024, or all there are)'),
  balanced: { type: 'boolean', description: 'Equally many examples of every label', default: false },
  seed: text('Draws the pool (0)'),
  storage: text('How keys and values are stored: f16, int8 or f32 (f16)'),
  store: text('A folder where encoded examples are kept between runs; "default" is one in the cache'),
  exact: exactArgument,
  lanes: lanesArgument,
  json: jsonArgument,
} as const;

export const prefixArgument = text(
  'What examples see while they are encoded: bare, prefixed, repair:N, blocks:N, recompute',
);
export const rankArgument = text('bm25, hybrid, keys, keys-z, keys-centred or random');
export const temperatureArgument = text('Keys of examples are divided by this');
export const gridArgument = text('Counts of examples to try, with commas between (4,8,16,32,64,128)');
export const orderArgument = text('best-first or best-nearest');

export const ensembleArgument = text('one or all: whether smaller counts that were tried count too');
export const voteArgument = text("N:W: the N nearest examples' labels vote with weight W; 0 for no vote");

export type Args = Readonly<Record<string, unknown>>;

const given = (args: Args, name: string) => args[name] as string | undefined;

/** A whole number. @throws E_ARGUMENT */
export function countOf(args: Args, name: string, least = 0): number | undefined {
  const value = numberOf(name, given(args, name));
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value;
  throw new EspalierError('E_ARGUMENT', `--${name} is ${value}.`, `Give a whole number from ${least} on.`);
}

/** Whole numbers with commas between. @throws E_ARGUMENT */
export function listOf(args: Args, name: string, least = 0): readonly number[] | undefined {
  return given(args, name)
    ?.split(',')
    .map((part) => countOf({ [name]: part }, name, least)!);
}

/** One of a list. @throws E_ARGUMENT */
export function choiceOf<T extends string>(args: Args, name: string, choices: readonly T[]): T | undefined {
  const value = given(args, name);
  if (value === undefined || (choices as readonly string[]).includes(value)) return value as T | undefined;
  throw new EspalierError('E_ARGUMENT', `--${name} is "${value}".`, `Give one of ${choices.join(', ')}.`);
}

/** @throws E_ARGUMENT, E_FILE_…, E_DATA_INVALID */
export async function dataOf(
  args: Args,
  files: Omit<DataFiles, 'path'> = {},
): Promise<{ format: DataFormat; task: TaskData; template: Template }> {
  const format = choiceOf(args, 'data', DATA_FORMATS)!;
  const named = given(args, 'template');
  const template = named === undefined ? templateOf(format) : namedTemplate(named);
  return { format, task: await readTask(format, { path: given(args, 'path')!, ...files }), template };
}

/** @throws E_ARGUMENT */
export function storageOf(args: Args): StorageType | undefined {
  return choiceOf(args, 'storage', ['f16', 'int8', 'f32']);
}

/** @throws E_ARGUMENT */
export function orderOf(args: Args): ShotOrder | undefined {
  return choiceOf(args, 'order', ['best-first', 'best-nearest']);
}

/** @throws E_ARGUMENT */
export function rankOf(args: Args): RankMethod | undefined {
  const rank = choiceOf(args, 'rank', ['bm25', 'hybrid', 'keys', 'keys-z', 'keys-centred', 'random']);
  return rank === 'random' ? { random: countOf(args, 'seed') ?? 0 } : rank;
}

/** @throws E_ARGUMENT */
export function voteOf(args: Args): NearestVote | null | undefined {
  const value = given(args, 'vote');
  if (value === undefined) return undefined;
  if (value === '0') return null;
  const [, neighbours, weight] = /^(\d+):(\d+(?:\.\d+)?)$/.exec(value) ?? [];
  if (neighbours !== undefined) return { neighbours: Number(neighbours), weight: Number(weight) };
  throw new EspalierError('E_ARGUMENT', `--vote is "${value}".`, 'Give N:W, such as 16:1, or 0.');
}

/** @throws E_ARGUMENT */
export function prefixOf(args: Args): PrefixMode | undefined {
  const [, kind, count] = /^(repair|blocks):(\d+)$/.exec(given(args, 'prefix') ?? '') ?? [];
  if (kind === 'repair') return { repair: Number(count) };
  if (kind === 'blocks') return { blocks: Number(count) };
  return choiceOf<'bare' | 'prefixed' | 'recompute'>(args, 'prefix', ['bare', 'prefixed', 'recompute']);
}

export async function storeOf(args: Args): Promise<ShotStore | null> {
  const folder = given(args, 'store');
  if (folder === undefined) return null;
  return folder === 'default' ? openShotStore() : openShotStore(folder);
}

/** The model in this thread, with its lanes; a progress bar on stderr. Close the model, then the device. */
export async function openForShots(args: Args, signal: AbortSignal): Promise<{ model: LocalModel; close(): void }> {
  const silent = args['json'] === true;
  const downloading = new Progress({ label: 'downloading', total: 1, silent });
  const loading = new Progress({ label: 'loading', total: 1, silent });
  const device = await WasmDevice.create({ lanes: laneCount(args['lanes'] as number | 'auto', await host()) });
  try {
    const model = await openLocal(given(args, 'model')!, {
      device,
      precision: args['exact'] === true ? 'exact' : 'int8',
      signal,
      onDownload: ({ overall: { loaded, total } }) => downloading.update(loaded / (total || 1), formatBytes(loaded)),
      onProgress: (done, total) => {
        downloading.end();
        loading.update(done / total, formatBytes(done));
      },
    });
    return {
      model,
      close: () => {
        model.close();
        device.close();
      },
    };
  } catch (error) {
    device.close();
    throw error;
  } finally {
    downloading.end();
    loading.end();
  }
}
