/** Espalier: adapt pretrained language models anywhere JavaScript runs. */

export type { Architecture, ModelConfig, RopeConfig, RopeScaling } from './checkpoint/types.ts';
export type { DeviceStats, Precision } from './device/device.ts';
export { Crew, type CrewOptions, type MapOptions } from './engine/crew/crew.ts';
export type { TaskInput, TaskName, TaskResult } from './engine/crew/tasks.ts';
export { Engine, type EngineOpenOptions, type EngineOptions } from './engine/engine.ts';
export {
  type GrowOptions,
  grow,
  type PlanGrowOptions,
  planGrow,
} from './engine/grow/grow.ts';
export type { Grown } from './engine/grow/protocol.ts';
export { Generation } from './engine/model/generation.ts';
export { Model } from './engine/model/model.ts';
export { type OpenOptions, open } from './engine/model/open.ts';
export type { EmbedInput, EngineStats, Prompt } from './engine/model/protocol.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
export type { GrowProgress, PlannedGrowth } from './grow/job.ts';
export type { GrowRecipe } from './grow/plan/recipe.ts';
export type { Receipt } from './grow/write/receipt.ts';
export type { EmbedOptions } from './model/embed.ts';
export type { GeneratedToken, GenerateOptions, GenerationResult, Timings } from './model/generate/generation.ts';
export type { SamplingOptions } from './model/generate/sampler.ts';
export type { EncodePromptOptions, PromptOptions, ScoredToken } from './model/model.ts';
export type { ScoredPosition, ScoreOptions } from './model/score.ts';
export type { ChatContentPart, ChatMessage, ChatOptions } from './model/text/chat.ts';
export type { DecodeOptions } from './model/text/tokenizer.ts';
export type { TokenIds } from './options/prompt.ts';
export type { Cache, CacheEntry } from './runtime/cache/cache.ts';
export { openCache } from './runtime/cache/default.ts';
export type { ModelTarget } from './runtime/files/model-files.ts';
export type { DownloadProgress } from './runtime/hub/download-progress.ts';
export type { FilesOptions, HubOptions } from './runtime/hub/session.ts';
