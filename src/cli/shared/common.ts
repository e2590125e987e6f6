import { lanes } from '../../device/options.ts';
import type { Model } from '../../engine/model/model.ts';
import { type OpenOptions, open } from '../../engine/model/open.ts';
import { type EngineOpenOptions, type EngineOptions, engineOpenOptions, engineOptions } from '../../engine/options.ts';
import { EspalierError } from '../../errors.ts';
import type { AdapterChoice } from '../../model/adapter-options.ts';
import { oneOf, type Rule, refusal } from '../../options/rules.ts';
import { deviceFlag, optionFlags } from './flags.ts';
import { formatBytes, noteLine } from './format.ts';
import type { Io } from './io.ts';
import { Stages } from './stages.ts';

/** Arguments that several commands share. */
export const modelArgument = {
  type: 'positional',
  description:
    'A model folder (config.json, model.safetensors, tokenizer.json), a .gguf file, an address of either, owner/name on the hub, or espalier:tiny, a small model that comes with the program',
  required: true,
} as const;
export const exactArgument = {
  type: 'boolean',
  description: 'f32 activations for quantised weights: slower, exact; the same as --precision exact',
  default: false,
} as const;
export const lanesArgument = {
  type: 'string',
  value: 'N',
  description: 'Threads that compute; auto: one for each core',
  default: 'auto',
  rule: lanes,
} as const;
export const deviceArgument = {
  type: 'string',
  ...deviceFlag,
  rule: engineOptions.device,
} as const;
export const jsonArgument = {
  type: 'boolean',
  description: 'Print one JSON object and nothing else',
  default: false,
} as const;
export const bosArgument = {
  type: 'string',
  value: 'yes|no|auto',
  description: 'Begin-of-text token; auto: as the tokenizer says',
  default: 'auto',
  rule: oneOf('yes', 'no', 'auto'),
} as const;
export const promptArgument = {
  type: 'string',
  alias: 'p',
  value: 'TEXT',
  description: 'The text; - reads it from standard input',
  required: true,
} as const;

const opening = optionFlags<EngineOpenOptions>(engineOpenOptions, {
  contextLength: {
    alias: 'c',
    value: 'N',
    description: 'Positions to have room for: fewer than the model has, or with dynamic RoPE scaling more',
  },
  precision: { value: 'NAME', description: 'What quantised weights are multiplied with: int8, int16 or exact' },
  quantise: {
    value: 'TYPE',
    description: 'Round the weights of linear layers to q8_0 or q4_0 while they are read',
  },
  adapters: null, // --adapter
  promptCache: null, // its default does
  hub: null, // the environment says it: HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE
  cache: null, // ESPALIER_CACHE
  transfer: null,
  signal: null,
  onDownload: null,
  onProgress: null,
});

const engine = optionFlags<EngineOptions>(engineOptions, {
  device: deviceFlag,
  lanes: { value: 'N', description: 'Threads that compute; auto: one for each core' },
  memoryLimit: {
    value: 'BYTES',
    description: 'Most bytes for weights, caches and scratch; default 4 GiB, on a GPU none',
  },
  relaxed: null,
  show: null, // the command
  signal: null,
  wasmLocation: null,
  workerLocation: null,
  laneLocation: null,
});

/** Whatever stands behind the last colon is a weight if it is a number: not the port of an address, and not what a path is. */
const WEIGHED = /^(?!.*:\/\/[^/]*$)(.+):([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i;

const adapter: Rule<AdapterChoice> = {
  takes: 'a folder, an address or owner/name, with :WEIGHT behind it where it is not 1',
  check: (value, name) => {
    if (typeof value !== 'string' || value === '') throw refusal(name, value, adapter.takes);
    const [, from = value, weight = '1'] = WEIGHED.exec(value) ?? [];
    return { from, weight: Number(weight) };
  },
};

export const adapterArgument = {
  type: 'string',
  value: 'DIR[:WEIGHT]',
  description: 'A LoRA adapter, PEFT’s or one with experts, and how much of it (1)',
  rule: adapter,
  many: true,
} as const;

/** Flags of commands that open a model in a worker. */
export const openArguments = {
  ...opening.args,
  adapter: adapterArgument,
  exact: exactArgument,
  ...engine.args,
} as const;

/** What they say. @throws E_ARGUMENT */
export function openOptionsOf(args: Readonly<Record<string, unknown>>): OpenOptions {
  const { precision, ...rest } = opening.options(args);
  if (args['exact'] && precision !== undefined && precision !== 'exact') {
    throw new EspalierError('E_ARGUMENT', `--exact and --precision ${precision} contradict each other.`, 'Give one.');
  }
  const adapters = args['adapter'] as readonly AdapterChoice[] | undefined;
  const all = { ...rest, ...engine.options(args), ...(adapters && { adapters }) };
  return { ...all, precision: args['exact'] ? 'exact' : (precision ?? 'int8') };
}

/** `--bos`. */
export function bosOf(said: 'yes' | 'no' | 'auto'): { addBos?: boolean } {
  return said === 'auto' ? {} : { addBos: said === 'yes' };
}

/** `--prompt`, or with `-` what standard input holds, without the line end that ends it. @throws E_ARGUMENT, E_ABORTED */
export async function promptOf(given: string, io: Io, signal: AbortSignal): Promise<string> {
  return given === '-' ? (await io.input(signal)).replace(/\r?\n$/, '') : given;
}

/** Opens a model with a progress bar on stderr, for what is downloaded and for what is loaded. */
export async function openWithProgress(target: string, options: OpenOptions, json: boolean, io: Io): Promise<Model> {
  const stages = new Stages(['downloading', 'loading'], json);
  try {
    const model = await open(target, {
      ...options,
      onDownload: ({ overall: { loaded, total } }) => stages.update('downloading', loaded, total, formatBytes(loaded)),
      onProgress: (done, total) => stages.update('loading', done, total, formatBytes(done)),
    });
    stages.end();
    if (!json) for (const note of model.notes) io.err(noteLine(note));
    return model;
  } finally {
    stages.end();
  }
}
