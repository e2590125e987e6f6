/**
 * The parts that the engine worker is made of, for programs that compute in their own thread or build on the decoder itself
 * (`espalier/local`). It needs nothing of `espalier`, which puts the same behind worker threads.
 */

export {
  adapterFiles,
  type WrittenAdapter,
  type WrittenFactors,
  writeAdapter,
} from './checkpoint/adapter/write.ts';
export { openCheckpoint } from './checkpoint/open.ts';
export { quantise } from './checkpoint/quantised/quantise.ts';
export { quantisedCheckpoint } from './checkpoint/quantised/quantised-checkpoint.ts';
export type { QuantisedType } from './checkpoint/quantised/quantised-types.ts';
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
export type { DeviceKind, DeviceName, GpuDevice } from './device/options.ts';
export type { WasmDeviceOptions } from './device/wasm/options.ts';
export { WasmDevice } from './device/wasm/wasm-device.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export { type Merged, merge } from './merge/job.ts';
export type { MergeOptions, MergeProgress } from './merge/options.ts';
export type { AdapterChoice, WeightedAdapter } from './model/adapter-options.ts';
export type { AdapterFacts } from './model/adapters.ts';
export { Decoder, type ForwardOptions } from './model/decoder.ts';
export { ExpertLoad, type LayerLoad } from './model/expert-load.ts';
export { type BatchItem, type BatchOptions, type BatchResult, GenerationBatch } from './model/generate/batch.ts';
export { type GeneratedToken, Generation, type GenerationResult, type Timings } from './model/generate/generation.ts';
export type { GenerateOptions, SamplingOptions } from './model/generate/options.ts';
export { KvCache, KvPiece } from './model/kv-cache.ts';
export { LocalModel, type ScoredToken } from './model/model.ts';
export type { EmbedOptions, EncodePromptOptions, PromptOptions, ScoreOptions } from './model/options.ts';
export type { Prompt, TokenIds } from './model/prompt.ts';
export type { TokenRouting } from './model/routed/rule.ts';
export type { LikelyToken, ScoredPosition } from './model/score.ts';
export type { ChatContentPart, ChatMessage } from './model/text/chat.ts';
export type { ChatOptions, DecodeOptions, EncodeOptions, TextSegment } from './model/text/options.ts';
export { Tokenizer } from './model/text/tokenizer.ts';
export { type OpenOptions, openLocal } from './open-local.ts';
export { openCache } from './runtime/cache/default.ts';
export type { Cache, CacheEntry } from './runtime/cache/types.ts';
export type { ModelTarget } from './runtime/files/model-files.ts';
export type { DownloadProgress } from './runtime/hub/download-progress.ts';
export type { FilesOptions, HubOptions } from './runtime/hub/options.ts';
export { memoryOutput } from './runtime/output/memory.ts';
