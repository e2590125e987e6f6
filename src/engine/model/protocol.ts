/** What crosses between the caller's thread and the engine worker, as types; `port.ts` has what all workers have in common. */
import type { ModelConfig, RoundedLayers } from '../../checkpoint/types.ts';
import type { DeviceStats } from '../../device/device.ts';
import type { DeviceName } from '../../device/options.ts';
import type { AdapterFacts } from '../../model/adapters.ts';
import type { GenerationResult } from '../../model/generate/generation.ts';
import type { GenerateOptions } from '../../model/generate/options.ts';
import type { ScoredToken } from '../../model/model.ts';
import type { EmbedOptions, EncodePromptOptions, PromptOptions, ScoreOptions } from '../../model/options.ts';
import type { Prompt, TokenIds } from '../../model/prompt.ts';
import type { ChatMessage } from '../../model/text/chat.ts';
import type { ChatOptions, DecodeOptions } from '../../model/text/options.ts';
import type { OpenOptions } from '../../open-local.ts';
import type { LinkKind, WorkerLink } from '../line/link.ts';
import { LOCAL } from '../line/parted-options.ts';
import type { Data, WireTarget } from '../line/port.ts';
import type { Batch } from '../line/run-ahead.ts';

export interface DeviceOptions {
  readonly device: DeviceName;
  readonly lanes: number;
  readonly relaxed?: boolean;
  readonly memoryLimit?: number;
  /** Folder of the kernels' wasm files. */
  readonly wasmLocation?: string;
}

export interface DeviceFacts {
  readonly description: Readonly<Record<string, string>>;
  readonly lanes: number;
}

export interface ModelFacts {
  /** The worker's number of it. */
  readonly model: number;
  readonly name: string;
  readonly config: ModelConfig;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly eosIds: readonly number[];
  readonly vocabSize: number;
  readonly notes: readonly string[];
  readonly rounded: RoundedLayers | null;
  readonly adapters: readonly AdapterFacts[];
  /** Of the engine, which a model may have moved. */
  readonly device: DeviceFacts;
}

/** Texts, or ids of one text, or of several. */
export type EmbedInput = string | TokenIds | readonly (string | TokenIds)[];

export interface StreamStart {
  readonly model: number;
  readonly prompt: Prompt;
  readonly options: Data<GenerateOptions & PromptOptions>;
}

export type Finish = Omit<GenerationResult, 'text' | 'tokens'>;

export interface EngineStats extends DeviceStats {
  readonly models: number;
  /** Generations that hold a cache. */
  readonly generations: number;
  /** Bytes of keys and values of recent prompts (`promptCache`), which lie beside the device's in JavaScript's memory. */
  readonly promptBytes: number;
  readonly lanes: number;
}

/** Calls that the engine worker answers. */
export interface EngineCalls {
  create(options: DeviceOptions): Promise<DeviceFacts>;
  stats(): EngineStats;
  open(target: WireTarget, options: Data<OpenOptions>): Promise<ModelFacts>;
  /** What has this number. */
  close(number: number): Promise<void>;
  encode(model: number, text: string, options: EncodePromptOptions): number[];
  encodeChat(model: number, messages: readonly ChatMessage[], options: ChatOptions): number[];
  decode(model: number, ids: readonly number[], options: DecodeOptions): string;
  score(
    model: number,
    text: string | readonly number[],
    options: Data<ScoreOptions & EncodePromptOptions>,
  ): Promise<ScoredToken[]>;
  scoreBatch(
    model: number,
    texts: readonly (string | readonly number[])[],
    options: Data<ScoreOptions & EncodePromptOptions>,
  ): Promise<ScoredToken[][]>;
  embed(model: number, input: EmbedInput, options: Data<EmbedOptions & EncodePromptOptions>): Promise<Float32Array[]>;
  /** The next tokens of a stream, which the first call starts. */
  next(stream: number, start: StreamStart | null): Promise<Batch<Finish>>;
  /** Ends a stream and resolves when its memory is free. */
  stop(stream: number): Promise<void>;
}

export type EngineLink = WorkerLink<EngineCalls>;

export const ENGINE: LinkKind = {
  worker: 'engine',
  again: 'Create another engine and open the models again.',
  local: LOCAL,
};
