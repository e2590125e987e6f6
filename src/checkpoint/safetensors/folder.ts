import { EspalierError, throwIfAborted } from '../../errors.ts';
import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { notFound, readWhole } from '../../runtime/files/model-files.ts';
import { shardNames } from '../../runtime/files/shard-names.ts';
import type { ByteSource, ModelFiles } from '../../runtime/files/source.ts';
import { isAdapterFile } from '../../runtime/hub/remote-files.ts';
import { jsonObject, parseJson } from '../json.ts';
import { type Report, raise } from '../report.ts';
import { emptyTable, type TensorTable } from '../tensor-table.ts';
import { readSafetensors } from './safetensors.ts';

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

export interface FolderOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Is told of a shard that is missing or cannot be read; default: it is thrown. What returns goes on with the others. */
  readonly report?: Report;
}

/**
 * Reads the headers of a folder's safetensors: `model.safetensors`, or the shards that `model.safetensors.index.json` names, or all
 * shards of a set without an index, or the only other file of that kind. Opened sources are handed to `opened`, whatever happens after.
 *
 * @throws E_FILE_NOT_FOUND, E_TENSOR_MISSING when a shard lacks what the index promises, E_CHECKPOINT_FORMAT for Mistral's own format,
 *   E_CHECKPOINT_HEADER for a tensor in two shards, and as `readSafetensors`
 */
export async function readSafetensorsFolder(
  files: ModelFiles,
  opened: ByteSource[],
  options: FolderOptions = {},
): Promise<TensorTable> {
  const read = async (name: string) => {
    throwIfAborted(options.signal);
    const source = await files.open(name);
    opened.push(source);
    return readSafetensors(source);
  };
  const preferred = files.preferred;
  const single = preferred ?? (files.names.includes(SINGLE_FILE) ? SINGLE_FILE : undefined);
  const indexed = files.names.includes(INDEX_FILE) ? await readIndex(files) : null;
  // a shard that the caller pointed at stands for all of them
  if (indexed && (single === undefined || (single === preferred && indexed.has(single)))) {
    return readShards(files, indexed, read, options);
  }
  const others = files.names.filter((name) => name.endsWith('.safetensors') && !isAdapterFile(name));
  if (single === undefined || single === preferred) {
    const set = shardSet(files, preferred);
    if (set) return readShardSet(set, read, options.onProgress);
  }
  const name = single ?? (others.length === 1 ? others[0]! : undefined);
  if (name === undefined) throw notFound(`${SINGLE_FILE} or ${INDEX_FILE}`, files.name);
  if (name === MISTRAL_FILE) {
    throw new EspalierError(
      'E_CHECKPOINT_FORMAT',
      `${files.name} holds its weights in Mistral's own layout (${name}), whose names are not read here.`,
      "Get the model's files for transformers (model.safetensors or shards with an index), or convert it.",
    );
  }
  const table = await read(name);
  options.onProgress?.(1, 1);
  return table;
}

const MISTRAL_FILE = 'consolidated.safetensors';

/** The one whole set of shards of a folder, or of the file that the caller pointed at; null where there is none. */
function shardSet(files: ModelFiles, preferred: string | undefined): readonly string[] | null {
  const set = shardNames(files.names, preferred);
  const missing = set?.find((name) => !files.names.includes(name));
  if (missing !== undefined) throw notFound(missing, files.name);
  return set;
}

async function readShardSet(
  set: readonly string[],
  read: (name: string) => Promise<TensorTable>,
  onProgress: ((done: number, total: number) => void) | undefined,
): Promise<TensorTable> {
  const all = emptyTable();
  for (const [i, file] of set.entries()) {
    const shard = await read(file);
    for (const name of [...shard.tensors.keys(), ...shard.unsupported.keys()]) {
      if (!all.tensors.has(name) && !all.unsupported.has(name)) continue;
      throw new EspalierError(
        'E_CHECKPOINT_HEADER',
        `${file} holds ${name.slice(0, 200)}, which another shard holds too.`,
        'Download all shards again, of one version.',
      );
    }
    for (const [name, entry] of shard.tensors) all.tensors.set(name, entry);
    for (const [name, type] of shard.unsupported) all.unsupported.set(name, type);
    onProgress?.(i + 1, set.length);
  }
  return all;
}

/** File name to the names of the tensors in it. */
type Index = ReadonlyMap<string, readonly string[]>;

async function readIndex(files: ModelFiles): Promise<Index> {
  const source = await files.open(INDEX_FILE);
  const limits = { name: INDEX_FILE, code: 'E_CHECKPOINT_HEADER', maxDepth: 8, uniqueKeys: true } as const;
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(source, FILE_LIMITS.index);
  } finally {
    await source.close();
  }
  const index = jsonObject(parseJson(bytes, limits), limits);
  const weightMap = jsonObject(index['weight_map'], { ...limits, name: `${INDEX_FILE}: weight_map` });
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    if (typeof file !== 'string' || !isPlainName(file)) {
      throw new EspalierError(
        'E_CHECKPOINT_HEADER',
        `${INDEX_FILE}: ${tensor.slice(0, 200)} is said to lie in a file that is not in this folder.`,
        'Download or export the file again.',
      );
    }
    const names = shards.get(file);
    if (names) names.push(tensor);
    else shards.set(file, [tensor]);
  }
  return shards;
}

/** A file in this very folder. */
function isPlainName(name: string): boolean {
  return name.endsWith('.safetensors') && !/[/\\:\0]/.test(name) && !name.startsWith('..');
}

async function readShards(
  files: ModelFiles,
  index: Index,
  read: (name: string) => Promise<TensorTable>,
  { onProgress, report = raise }: FolderOptions,
): Promise<TensorTable> {
  // all of them first: a missing shard is the usual fault, and must not cost reading the others
  const there = [...index].filter(([file]) => {
    if (files.names.includes(file)) return true;
    report(notFound(file, files.name));
    return false;
  });
  const all = emptyTable();
  const promised = new Set([...index.values()].flat());
  let done = 0;
  for (const [file, names] of there) {
    let shard: TensorTable;
    try {
      shard = await read(file);
    } catch (error) {
      report(error);
      continue;
    }
    for (const name of names) {
      const entry = shard.tensors.get(name);
      const type = shard.unsupported.get(name);
      if (entry) all.tensors.set(name, entry);
      else if (type !== undefined) all.unsupported.set(name, type);
      else {
        report(
          new EspalierError(
            'E_TENSOR_MISSING',
            `${file} does not hold ${name.slice(0, 200)}, which ${INDEX_FILE} promises.`,
            'Download the shards and the index again; they belong to different versions.',
          ),
        );
      }
    }
    // what the index does not name is there all the same, as in transformers
    for (const [name, entry] of shard.tensors) if (!promised.has(name)) all.tensors.set(name, entry);
    for (const [name, type] of shard.unsupported) if (!promised.has(name)) all.unsupported.set(name, type);
    onProgress?.(++done, index.size);
  }
  return all;
}
