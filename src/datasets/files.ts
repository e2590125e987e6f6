import { EspalierError } from '../errors.ts';
import { checked } from '../options/check.ts';
import type { Schema } from '../options/rules.ts';
import { pathOf } from '../runtime/files/path.ts';
import { openPath } from '../runtime/files/paths.ts';
import type { ByteSource } from '../runtime/files/source.ts';
import { type DataFormat, type DataPart, type Examples, parseData } from './data.ts';
import { fileSystem } from './file-system.ts';
import { dataFormat } from './options.ts';
import { type DataSource, dataSource, isPath, openSource } from './source.ts';
import type { SplitSources } from './splits.ts';

export type { DataSource } from './source.ts';

export interface DataFiles {
  /** Training data; or a folder with files under their published names, which may hold the other two. */
  readonly path: DataSource;
  /** Default: what the folder or the file holds; or else test items are taken from the training data. */
  readonly test?: DataSource | undefined;
  readonly dev?: DataSource | undefined;
}

export const dataFiles = {
  path: dataSource,
  test: dataSource,
  dev: dataSource,
} as const satisfies Schema<DataFiles>;

export interface TaskData extends SplitSources {
  readonly kind: Examples['kind'];
  /** Every output that occurs, sorted; of `labels`. */
  readonly labels: readonly string[];
}

/** Names that the files of a folder have. */
const NAMES: Readonly<Record<DataFormat, Readonly<Partial<Record<DataPart, RegExp>>>>> = {
  trec: { train: /^train(_5500)?\.label$/i, test: /^(TREC_10|test)\.label$/i },
  'trec-fine': { train: /^train(_5500)?\.label$/i, test: /^(TREC_10|test)\.label$/i },
  banking77: { train: /^train\.csv$/i, test: /^test\.csv$/i },
  clinc150: { train: /^data_full\.json$/i },
  hwu64: { train: /(^|\.)train\.tsv$/i, test: /(^|\.)test\.tsv$/i },
  sst2: { train: /^train\.tsv$/i, dev: /^dev\.tsv$/i, test: /^test\.tsv$/i },
  gsm8k: { train: /^train\.jsonl$/i, test: /^test\.jsonl$/i },
  // one file a language, without training data: the file itself has to be named
  mgsm: {},
  jsonl: { train: /^train\.jsonl$/i, dev: /^dev\.jsonl$/i, test: /^test\.jsonl$/i },
};

/** Bytes of one file that are read at most. */
const MOST = 1 << 28;

/**
 * Reads the data of a task. A file of clinc150 holds all three parts.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ, E_DATA_INVALID; E_ARGUMENT for a folder without training data, for a path where there is no
 *   file system, and for files of two kinds
 */
export async function readTask(format: DataFormat, files: DataFiles): Promise<TaskData> {
  dataFormat.check(format, 'The format');
  files = checked<DataFiles>(dataFiles, files, 'readTask()');
  const { path } = files;
  if (path === undefined) throw new EspalierError('E_ARGUMENT', 'There is no path of data.', 'Give it.');
  const listed = isPath(path) ? await listFolder(path) : null;
  const sources: Partial<Record<DataPart, Opened>> = {};
  for (const part of ['train', 'dev', 'test'] as const) {
    const given = part === 'train' ? (listed ? undefined : path) : files[part];
    if (given !== undefined) sources[part] = () => openSource(given);
    else {
      const name = listed?.names.find((n) => NAMES[format][part]?.test(n));
      if (name !== undefined) sources[part] = () => listed!.open(name);
    }
  }
  const training = sources.train;
  if (training === undefined) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${path} holds no training data of ${format} under its published name.`,
      'Give the file itself.',
    );
  }
  if (format === 'clinc150') {
    sources.dev ??= training;
    sources.test ??= training;
  }
  const read = async (part: DataPart) => sources[part] && readPart(format, await sources[part](), part);
  const train = (await read('train'))!;
  const [dev, test] = [await read('dev'), await read('test')];
  if ([dev, test].some((part) => part !== undefined && part.kind !== train.kind)) {
    throw new EspalierError('E_ARGUMENT', 'One file has labels and another outputs.', 'Give files of one kind.');
  }
  const all = [train, dev, test].flatMap((part) => part?.list ?? []);
  const labels = train.kind === 'labels' ? [...new Set(all.map(({ output }) => output))].sort() : [];
  return { kind: train.kind, labels, train: train.list, dev: dev?.list, test: test?.list };
}

type Opened = () => Promise<ByteSource>;

/** Names in a folder; null where the path is none. */
async function listFolder(path: string | URL) {
  const { stat } = await fileSystem();
  const isFolder = await stat(await pathOf(path)).then(
    (info) => info.isDirectory(),
    () => false,
  );
  return isFolder ? openPath(path) : null;
}

async function readPart(format: DataFormat, source: ByteSource, part: DataPart): Promise<Examples> {
  try {
    const { name, size } = source;
    if (size > MOST) {
      throw new EspalierError('E_DATA_INVALID', `${name} has ${size} bytes.`, `Give a file of at most ${MOST} bytes.`);
    }
    const bytes = new Uint8Array(size);
    await source.readInto(0, bytes);
    return parseData(format, bytes, { name, part });
  } finally {
    await source.close();
  }
}
