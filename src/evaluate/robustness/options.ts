/** Options of what attacks a model that was made to forget. */

import { type DataSource, dataSource } from '../../datasets/source.ts';
import {
  type SequenceOptions,
  sequenceOptions,
  type TrainingDataOptions,
  trainingDataOptions,
} from '../../datasets/training/options.ts';
import { anyMemoryLimit, type DeviceKind, deviceKind, lanes } from '../../device/options.ts';
import { type AdapterChoice, adapters } from '../../model/adapter-options.ts';
import { callback, defaulting, either, listOf, place, real, type Schema, signal, whole } from '../../options/rules.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { targetRule } from '../../runtime/files/target.ts';
import { type FilesOptions, filesOptions } from '../../runtime/hub/options.ts';
import { rateRule } from '../../train/schedule.ts';
import type { MeasureProgress } from '../unlearning/options.ts';

/** What goes on. */
export interface RelearnProgress {
  /** Examples made into tokens; bytes of weights; sequences whose probability is measured, or for which experts are chosen; steps. */
  readonly stage: 'reading' | 'loading' | 'measuring' | 'routing' | 'relearning';
  readonly done: number;
  readonly total: number;
  /** The mean probability of answers at the last look, of those that are held out where some are; null before. */
  readonly probability: number | null;
}

export interface RelearnSettings {
  /** Share of the examples that is trained on, above 0 and up to 1; the rest is only looked at. Default 1. */
  readonly share?: number;
  /** What of the original's probability counts as back, above 0 and up to 1. Default 0.5. */
  readonly fraction?: number;
  /** Most steps. Default 100. */
  readonly steps?: number;
  /** Sequences of a step. Default 16. */
  readonly batch?: number;
  /** Constant. Default 1e-4. */
  readonly learningRate?: number;
  /** Of the adapter that is trained, on all linear layers of attention and feed-forwards. Default 8. */
  readonly rank?: number;
  /** The product of its factors is multiplied by alpha / rank. Default 2 · rank. */
  readonly alpha?: number;
  /** Steps between two looks at the probabilities. Default 5. */
  readonly every?: number;
  /** Of all that is drawn: what is trained on, the order, the factors. Default 0. */
  readonly seed?: number;
}

export interface RelearnOptions
  extends Omit<TrainingDataOptions, 'heldOut' | 'seed' | 'signal' | 'onProgress'>,
    Omit<SequenceOptions, 'loss'>,
    RelearnSettings,
    FilesOptions {
  /** Files of what was to be forgotten. */
  readonly data?: DataSource | readonly DataSource[];
  /** Those that forget, and others; they stay as they are. */
  readonly adapters?: readonly AdapterChoice[];
  /** The model that knew, with the same tokenizer. Default: the same model without adapters, where there are some. */
  readonly original?: ModelTarget;
  /**
   * What computes: `wasm`, the CPU; `webgpu`, a GPU; or a `GPUDevice` of your own. `auto` (default): a real GPU where it is known to be faster with a
   * model of this size, else the CPU. The two do not come to the same bits (docs/webgpu.md).
   */
  readonly device?: DeviceKind;
  /** Threads that compute; default: all that can share memory. The result does not depend on it. */
  readonly lanes?: number | 'auto';
  /** Most bytes on the device: what would take more is refused before it begins. Default 4 GiB, on a GPU none. */
  readonly memoryLimit?: number;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
  /** What goes on: the stage, how far it is, and the last look (`RelearnProgress`). */
  readonly onProgress?: (progress: RelearnProgress) => void;
}

const positive = real(0, Number.MAX_VALUE, { above: true });

export const relearnSettings = {
  share: defaulting(real(0, 1, { above: true }), 1),
  fraction: defaulting(real(0, 1, { above: true }), 0.5),
  steps: defaulting(whole(1), 100),
  batch: defaulting(whole(1), 16),
  learningRate: defaulting(rateRule, 1e-4),
  rank: defaulting(whole(1, 1024), 8),
  alpha: positive,
  every: defaulting(whole(1), 5),
  seed: defaulting(whole(0), 0),
} as const satisfies Schema<RelearnSettings>;

const { heldOut: _, seed: __, signal: ___, onProgress: ____, ...data } = trainingDataOptions;
const { loss: _____, ...sequences } = sequenceOptions;

export const relearnJobOptions = {
  ...data,
  ...sequences,
  ...relearnSettings,
  data: either(dataSource, listOf(dataSource, 1)),
  adapters,
  original: targetRule('The original'),
  device: deviceKind,
  lanes,
  memoryLimit: anyMemoryLimit,
  wasmLocation: place,
  onProgress: callback,
};

/** Of `espalier/prune`. */
export const relearnOptions = { ...relearnJobOptions, ...filesOptions } as const satisfies Schema<RelearnOptions>;

/** Of `measureAnswers` and `measureQuantisation`. */
export interface AnswersOptions extends Omit<SequenceOptions, 'loss'> {
  readonly signal?: AbortSignal;
  /** What goes on (`MeasureProgress`). */
  readonly onProgress?: (progress: MeasureProgress) => void;
}

export const answersOptions = { ...sequences, signal, onProgress: callback } as const satisfies Schema<AnswersOptions>;
