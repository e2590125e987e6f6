/** Espalier: adapt pretrained language models anywhere JavaScript runs. */

export { openCheckpoint } from './checkpoint/open.ts';
export type {
  Architecture,
  Checkpoint,
  ModelConfig,
  RopeConfig,
  RopeScaling,
  StoredType,
  TensorEntry,
  TokenizerSpec,
} from './checkpoint/types.ts';
export type { Device, DeviceStats, ElementType, Precision, Tensor } from './device/device.ts';
export { WasmDevice, type WasmDeviceOptions } from './device/wasm/wasm-device.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export type { ChatMessage, ChatOptions } from './model/chat.ts';
export { Decoder, type ForwardOptions } from './model/decoder.ts';
export {
  type GeneratedToken,
  type GenerateOptions,
  Generation,
  type GenerationResult,
  type Timings,
} from './model/generation.ts';
export { KvCache, KvPiece } from './model/kv-cache.ts';
export { type EncodePromptOptions, LocalModel as Model, type ScoredToken } from './model/model.ts';
export type { SamplingOptions } from './model/sampler.ts';
export type { ScoredPosition, ScoreOptions } from './model/score.ts';
export { Tokenizer } from './model/tokenizer.ts';
export { type OpenOptions, openLocal as open } from './open-local.ts';
