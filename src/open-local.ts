import { withContext } from './checkpoint/config/context-length.ts';
import { TensorDigests } from './checkpoint/identity.ts';
import { openCheckpoint } from './checkpoint/open.ts';
import { quantisedCheckpoint } from './checkpoint/quantised/quantised-checkpoint.ts';
import { type QuantisedType, quantisedType } from './checkpoint/quantised/quantised-types.ts';
import { parametersIn } from './device/auto.ts';
import type { Work } from './device/crossover.ts';
import type { Device, Precision } from './device/device.ts';
import { exclusive } from './device/exclusive.ts';
import { openDevice } from './device/open-device.ts';
import { type DeviceKind, deviceKind, precision } from './device/options.ts';
import { throwIfAborted } from './errors.ts';
import { adaptedDecoder } from './model/adapted-decoder.ts';
import { type AdapterChoice, adapters } from './model/adapter-options.ts';
import { type LoadedAdapters, loadAdapters, type OpenedAdapters, openAdapters } from './model/adapters.ts';
import { PromptCache } from './model/generate/prompt-cache.ts';
import { LocalModel } from './model/model.ts';
import { contextLength, promptCache } from './model/options.ts';
import { Tokenizer } from './model/text/tokenizer.ts';
import { type DecoderWeights, loadWeights } from './model/weights.ts';
import { checked } from './options/check.ts';
import { callback, defaulting, either, like, type Schema } from './options/rules.ts';
import { checkedTarget } from './runtime/files/target.ts';
import { type FilesOptions, filesOptions } from './runtime/hub/options.ts';

export interface OpenOptions extends FilesOptions {
  /**
   * Where to compute: a device, such as `WasmDevice.create()` makes, which stays the caller's; or of one that is opened and closed with the model,
   * its kind: `wasm`, the CPU; `webgpu`, a GPU; a `GPUDevice` of your own; or `auto` (default), a real GPU where it is known to be faster with a
   * model of this size, else the CPU.
   */
  readonly device?: Device | DeviceKind;
  /**
   * `int8` (default): quantised weights meet activations quantised per block of 32, as in llama.cpp. `int16`: to 16 bits, closer
   * and slower. `exact`: activations stay f32. Weights in f32, f16 or bf16 are exact in each case, but for `int8` with f16 on a GPU's matrix units (docs/webgpu.md).
   */
  readonly precision?: Precision;
  /**
   * Rounds the weights of linear layers, those of experts too, to this type of llama.cpp's while they are read. Embedding, output matrix, norms,
   * biases and routers stay as they are stored, and adapters f32. Default: all weights as they are stored.
   */
  readonly quantise?: QuantisedType;
  /**
   * Positions to have room for; default: the model's own. More than that only with dynamic NTK scaling, up to `factor` times as many:
   * frequencies are then those of this length, for shorter texts too.
   */
  readonly contextLength?: number;
  /**
   * LoRA adapters, whose terms are added up: a path, an address or `owner/name`, or `{ from, weight }`, where `from` may also be files by name.
   * Folders in PEFT's format; one of them may hold alter.json and alter.safetensors, whose experts act by position.
   */
  readonly adapters?: readonly AdapterChoice[];
  /**
   * Most bytes for keys and values of recent prompts, in JavaScript's memory: what begins like one of them, such as the next turn of a
   * conversation, computes only what is new, to the same bits (`timings.reused`). What is written behind a conversation is read for it while
   * nobody waits. On the CPU, without experts that act by position. 0: none.
   * Default 256 MiB, in a browser 64 MiB.
   */
  readonly promptCache?: number;
  /** Bytes of weights read so far and in all; of what is downloaded before, `onDownload` tells. */
  readonly onProgress?: (loaded: number, total: number) => void;
}

function isDevice(value: unknown): value is Device {
  return typeof (value as Device).loadMatrix === 'function' && typeof (value as Device).read === 'function';
}

export const localOpenOptions = {
  ...filesOptions,
  device: defaulting(
    either<DeviceKind, Device>(deviceKind, like<Device>('a device, such as WasmDevice.create() makes', isDevice)),
    'auto',
  ),
  precision,
  quantise: quantisedType,
  contextLength,
  adapters,
  promptCache,
  onProgress: callback,
} as const satisfies Schema<OpenOptions>;

/**
 * Opens a model: a folder with config.json, model.safetensors and tokenizer.json, or one GGUF file; as a path, a model of
 * the hub (`owner/name`), URL, Blob, bytes, or files by name. What is downloaded is kept in the cache.
 * @throws E_FILE_NOT_FOUND, E_CHECKPOINT_…, E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED, E_TENSOR_…, E_TOKENIZER_INVALID,
 *   E_OUT_OF_MEMORY, E_ABORTED, E_ADAPTER, and of models that are downloaded E_OFFLINE, E_DOWNLOAD, E_DOWNLOAD_CORRUPT, E_STORAGE_FULL,
 *   E_FILE_WRITE; E_ARGUMENT for a context that cannot be; nothing stays allocated then
 */
export async function openLocal(
  target: Parameters<typeof openCheckpoint>[0],
  given: OpenOptions = {},
): Promise<LocalModel> {
  return openWith(target, given, { withIdentity: true });
}

export interface OpenedWith {
  /** Who never asks for the model's identity saves hashing its weights, some 0.8 ms a MB. */
  readonly withIdentity: boolean;
  /** The caller's device for a model of this size. Default: as the options say. */
  readonly deviceFor?: (work: Work) => Promise<Device>;
}

/** The same. */
export async function openWith(
  target: Parameters<typeof openCheckpoint>[0],
  given: OpenOptions,
  { withIdentity, deviceFor }: OpenedWith,
): Promise<LocalModel> {
  const options = checked<OpenOptions>(localOpenOptions, given, 'openLocal');
  checkedTarget(target);
  throwIfAborted(options.signal);
  const { signal, onDownload, hub, cache } = options;
  const opened = await openCheckpoint(target, { signal, onDownload, hub, cache });
  const kind = options.device ?? 'auto';
  const owns = deviceFor === undefined && !isDevice(kind);
  let device: Device | undefined;
  let weights: DecoderWeights | undefined;
  let loaded: LoadedAdapters | undefined;
  let found: OpenedAdapters | undefined;
  try {
    const rounded = options.quantise === undefined ? opened : quantisedCheckpoint(opened, options.quantise);
    const checkpoint = { ...rounded, config: withContext(opened.config, options.contextLength) };
    const spec = await checkpoint.tokenizer();
    const tokenizer = Tokenizer.create(spec);
    // before any weight is read
    found = await openAdapters(options.adapters ?? [], checkpoint, { signal, onDownload, hub, cache });
    const adapting = found;
    const work: Work = { task: 'answering', parameters: parametersIn(checkpoint.tensors.values()) };
    if (deviceFor) device = await deviceFor(work);
    else device = isDevice(kind) ? kind : await openDevice(kind, {}, work);
    const on = device;
    // hashed while it is read
    const digests = withIdentity ? new TensorDigests(checkpoint) : null;
    weights = await exclusive(on, () => loadWeights(on, digests?.checkpoint ?? checkpoint, options));
    const { weighed, routed } = adapting;
    if (weighed.length > 0 || routed) {
      loaded = await exclusive(on, () => loadAdapters(on, weighed, { signal, withIdentity, routed }));
    }
    const decoder = adaptedDecoder(on, checkpoint.config, weights, loaded ?? null, options.precision ?? 'int8');
    const base = (await digests?.identity(opened.config)) ?? null; // of whatever context; RoPE is told apart
    const identity = base !== null && loaded ? await loaded.identityOn(base) : base;
    const noted = { ...checkpoint, notes: [...checkpoint.notes, ...adapting.notes] };
    // where experts act by position, a prompt's beginning is more than its keys and values
    const most = loaded?.routed ? 0 : options.promptCache;
    const prompts = most === 0 ? null : new PromptCache(decoder, most);
    return new LocalModel(noted, spec, tokenizer, decoder, owns, identity, loaded?.facts ?? [], prompts);
  } catch (error) {
    weights?.dispose();
    loaded?.dispose();
    if (owns) device?.close();
    throw error;
  } finally {
    await found?.close();
    await opened.close();
  }
}
