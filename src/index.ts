/** Espalier: adapt pretrained language models anywhere JavaScript runs. */

export type { Architecture, ModelConfig, RopeConfig, RopeScaling } from './checkpoint/types.ts';
export type { DeviceStats, Precision } from './device/device.ts';
export { Crew, type CrewOptions, type MapOptions } from './engine/crew.ts';
export { Engine, type EngineOpenOptions, type EngineOptions } from './engine/engine.ts';
export { Generation } from './engine/generation.ts';
export {
  type PlanUpcycleOptions,
  planUpcycle,
  type UpcycleOptions,
  upcycle,
} from './engine/grow.ts';
export type { Grown } from './engine/grow-protocol.ts';
export { Model } from './engine/model.ts';
export { type OpenOptions, open } from './engine/open.ts';
export type { EmbedInput, EngineStats, Prompt } from './engine/protocol.ts';
export type { TaskInput, TaskName, TaskResult } from './engine/tasks.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export type { ChatContentPart, ChatMessage, ChatOptions } from './model/chat.ts';
export type { EmbedOptions } from './model/embed.ts';
export type { GeneratedToken, GenerateOptions, GenerationResult, Timings } from './model/generation.ts';
export type { EncodePromptOptions, PromptOptions, ScoredToken } from './model/model.ts';
export type { SamplingOptions } from './model/sampler.ts';
export type { ScoredPosition, ScoreOptions } from './model/score.ts';
export type { DecodeOptions } from './model/tokenizer.ts';
export type { TokenIds } from './options/prompt.ts';
export type { Cache, CacheEntry } from './runtime/cache.ts';
export { openCache } from './runtime/cache-default.ts';
export type { ModelTarget } from './runtime/files.ts';
export type { DownloadProgress } from './runtime/meter.ts';
export type { FilesOptions, HubOptions } from './runtime/session.ts';
export type { GrowOptions } from './spri/options.ts';
export type { Receipt } from './spri/receipt.ts';
export type { UpcyclePlan, UpcycleProgress } from './spri/upcycle.ts';
