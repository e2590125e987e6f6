import { TensorDigests } from '../checkpoint/identity.ts';
import { openCheckpointFiles } from '../checkpoint/open.ts';
import { readSafetensorsFolder } from '../checkpoint/safetensors/folder.ts';
import { canonicalPrefixes } from '../checkpoint/safetensors/names.ts';
import type { Checkpoint, TensorEntry } from '../checkpoint/types.ts';
import { checkSource, jobIdentity, withSource } from '../checkpoint/write/job-identity.ts';
import type { OutputType } from '../checkpoint/write/shards.ts';
import { configText, writeSmallFiles, writeText } from '../checkpoint/write/small-files.ts';
import { checkStored, convertedBytes, isVerbatim } from '../checkpoint/write/source-tensors.ts';
import { type OutputGroup, type OutputTensor, writeCheckpoint } from '../checkpoint/write/write-checkpoint.ts';
import type { Device } from '../device/device.ts';
import { openExactDevice } from '../device/open-device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { type OpenedAdapters, openAdapters, type WeighedAdapter } from '../model/adapters.ts';
import { unsupported } from '../model/routed/cache.ts';
import { checked } from '../options/check.ts';
import { type ModelTarget, openModelFiles } from '../runtime/files/model-files.ts';
import type { ByteSource, ModelFiles } from '../runtime/files/source.ts';
import { jobLanes } from '../runtime/host/lane-count.ts';
import { outputOf } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import { factorsIdentity, type MergedTerm, mergedBytes } from './merged-rows.ts';
import { type MergeOptions, mergeOptions } from './options.ts';

/** Raised when another program would write other bytes. */
const VERSION = 1;

/** What a job has merged. */
export interface Merged {
  /** Linear layers that were changed. */
  readonly modules: number;
  readonly adapters: readonly { readonly name: string; readonly weight: number }[];
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** What was found and left out or taken otherwise than it stands there, a sentence each. */
  readonly notes: readonly string[];
}

/**
 * Writes a model with adapters in its weights, W + Σ weight · scale · B A, as a checkpoint that needs none: computed in f32, rounded once
 * to the type that the tensor has, or to `dtype`. All other tensors are copied, all under the names that transformers has, a tensor at a time. A job
 * that was interrupted goes on where it was when it is called again with the same arguments, and its result is the same to the bit, for any
 * number of lanes and in every runtime.
 *
 * @throws E_ARGUMENT without adapters or out; E_ADAPTER as `openLocal`; E_TARGET for a base in GGUF; E_TENSOR_VALUE for NaN, and for what the
 *   type cannot hold; E_STORAGE_FULL, E_FILE_WRITE; what opening the base throws; E_OUT_OF_MEMORY, E_ABORTED. Nothing has its final name
 *   before all of it is written
 */
export async function merge(source: ModelTarget, given: MergeOptions): Promise<Merged> {
  const options = checked<MergeOptions>(mergeOptions, given, 'merge');
  if (options.out === undefined) {
    throw new EspalierError('E_ARGUMENT', 'There is no out to write to.', "Give a folder, or memoryOutput('result').");
  }
  if (!options.adapters || options.adapters.length === 0) {
    throw new EspalierError('E_ARGUMENT', 'There are no adapters to merge.', 'Give at least one.');
  }
  const { signal, onDownload, hub, cache } = options;
  throwIfAborted(signal);
  const files = await openModelFiles(source, options);
  const checkpoint = await openCheckpointFiles(files, { signal });
  const opened: ByteSource[] = [];
  let found: OpenedAdapters | undefined;
  let out: OutputFolder | undefined;
  let device: Device | undefined;
  try {
    if (checkpoint.format !== 'safetensors') {
      throw new EspalierError(
        'E_TARGET',
        `${checkpoint.name} is a GGUF file, whose types cannot hold what an adapter adds.`,
        'Merge into the safetensors of this model, or open the GGUF file with its adapters.',
      );
    }
    found = await openAdapters(options.adapters, checkpoint, { signal, onDownload, hub, cache });
    if (found.routed) {
      throw unsupported(
        `The adapter ${found.routed.adapter.name} acts by position, so no weights can be merged with it.`,
      );
    }
    const { table } = canonicalPrefixes(await readSafetensorsFolder(files, opened), files.name);
    const { wasmLocation } = options;
    const lanes = await jobLanes(options.lanes);
    device = await openExactDevice({ lanes, ...(wasmLocation && { wasmLocation: new URL(wasmLocation) }) });
    out = await outputOf(options.out);
    const merged = await write(
      { files, checkpoint: { ...checkpoint, tensors: table.tensors }, weighed: found.weighed, device, out },
      options,
    );
    await out.commit();
    const left = [...table.unsupported.keys()];
    const more = left.length > 1 ? ` and ${left.length - 1} more` : '';
    const notes = left.length > 0 ? [`Left out is ${left[0]}${more}, of a type that is not written.`] : [];
    return { ...merged, notes: [...checkpoint.notes, ...found.notes, ...notes] };
  } catch (error) {
    // what went wrong first is what is told
    await out?.release().catch(() => {});
    throw error;
  } finally {
    device?.close();
    await found?.close();
    await Promise.allSettled(opened.map((one) => one.close()));
    await checkpoint.close();
  }
}

interface Materials {
  readonly files: ModelFiles;
  /** With the tensors of its files. */
  readonly checkpoint: Checkpoint;
  readonly weighed: readonly WeighedAdapter[];
  readonly device: Device;
  readonly out: OutputFolder;
}

async function write(
  { files, checkpoint, weighed, device, out }: Materials,
  { signal, dtype = 'auto', restart, maxShardBytes, onProgress }: MergeOptions,
): Promise<Omit<Merged, 'notes'>> {
  const terms = new Map<string, MergedTerm[]>();
  for (const { pairs, weight } of weighed) {
    for (const { module, a, b, scale } of pairs) {
      const name = `${module}.weight`;
      terms.set(name, [...(terms.get(name) ?? []), { a, b, scale: weight * scale }]);
    }
  }
  const digests = new TensorDigests(checkpoint);
  const { headDim } = checkpoint.config;
  const tensor = (entry: TensorEntry): OutputTensor => {
    const wanted = dtype === 'auto' ? (entry.type as OutputType) : dtype;
    const added = terms.get(entry.name);
    const bytes = () =>
      added
        ? mergedBytes(device, entry, added, wanted, { headDim, signal })
        : copied(entry, wanted, { headDim, signal });
    return { name: entry.name, type: wanted, shape: entry.shape, bytes };
  };
  const groups = new Map<string, OutputTensor[]>();
  for (const entry of digests.checkpoint.tensors.values()) {
    const group = /^model\.layers\.\d+/.exec(entry.name)?.[0] ?? 'outside the layers';
    groups.set(group, [...(groups.get(group) ?? []), tensor(entry)]);
  }
  const list = [...groups].map(([name, tensors]): OutputGroup => ({ name, tensors }));
  const written = await writeCheckpoint(out, withSource(list, digests), {
    onResume: (records) => checkSource(records, digests, checkpoint.name, signal),
    identity: await jobIdentity(checkpoint, {
      merge: VERSION,
      dtype,
      maxShardBytes: maxShardBytes ?? null,
      factors: await factorsIdentity(terms),
    }),
    ...(signal && { signal }),
    ...(restart === undefined ? {} : { restart }),
    ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
    onProgress: (done, total) => onProgress?.({ done, total }),
  });
  await writeText(out, 'config.json', await configText(files, dtype === 'auto' ? undefined : dtype));
  await writeSmallFiles(checkpoint, files, out);
  const adapters = weighed.map(({ adapter, weight }) => ({ name: adapter.name, weight }));
  return { modules: terms.size, adapters, files: written.files };
}

async function* copied(
  entry: TensorEntry,
  type: OutputType,
  options: { readonly headDim: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const verbatim = isVerbatim(entry, type);
  for await (const piece of convertedBytes(entry, type, 1, options)) {
    if (verbatim) checkStored(piece, type, entry.name);
    yield piece;
  }
}
