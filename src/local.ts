/**
 * The parts that the engine worker is made of, for programs that compute in their own thread or build on the decoder itself
 * (`espalier/local`). It needs nothing of `espalier`, which puts the same behind worker threads.
 */

export { openCheckpoint } from './checkpoint/open.ts';
export type {
  Architecture,
  Checkpoint,
  ModelConfig,
  MoeConfig,
  RopeConfig,
  RopeScaling,
  RouterRule,
  StoredType,
  TensorEntry,
  TokenizerSpec,
} from './checkpoint/types.ts';
export type { Device, DeviceStats, ElementType, Precision, Tensor } from './device/device.ts';
export { WasmDevice, type WasmDeviceOptions } from './device/wasm/wasm-device.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export { Decoder, type ForwardOptions } from './model/decoder.ts';
export type { EmbedOptions } from './model/embed.ts';
export { ExpertLoad, type LayerLoad } from './model/expert-load.ts';
export {
  type GeneratedToken,
  type GenerateOptions,
  Generation,
  type GenerationResult,
  type Timings,
} from './model/generate/generation.ts';
export type { SamplingOptions } from './model/generate/sampler.ts';
export { KvCache, KvPiece } from './model/kv-cache.ts';
export { type EncodePromptOptions, LocalModel, type PromptOptions, type ScoredToken } from './model/model.ts';
export type { ScoredPosition, ScoreOptions } from './model/score.ts';
export type { ChatContentPart, ChatMessage, ChatOptions } from './model/text/chat.ts';
export { type DecodeOptions, type EncodeOptions, type TextSegment, Tokenizer } from './model/text/tokenizer.ts';
export { type OpenOptions, openLocal } from './open-local.ts';
export type { TokenIds } from './options/prompt.ts';
export type { Cache, CacheEntry } from './runtime/cache/cache.ts';
export { openCache } from './runtime/cache/default.ts';
export type { ModelTarget } from './runtime/files/model-files.ts';
export type { DownloadProgress } from './runtime/hub/download-progress.ts';
export type { FilesOptions, HubOptions } from './runtime/hub/session.ts';
