/** Options of a job that trains a model (`espalier/train`). */
import { anyMemoryLimit, type DeviceKind, deviceKind, lanes } from '../device/options.ts';
import { callback, defaulting, place, type Schema, truth, whole } from '../options/rules.ts';
import type { ModelTarget } from '../runtime/files/model-files.ts';
import { targetRule } from '../runtime/files/target.ts';
import { type FilesOptions, filesOptions } from '../runtime/hub/options.ts';
import { output } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import { type TrainRecipe, trainRecipe } from './plan/recipe.ts';

/** What goes on. */
export interface TrainProgress {
  /** Looking through the data, loading weights, training with its looks at what is held out, writing the result. */
  readonly stage: 'reading' | 'loading' | 'training' | 'evaluating' | 'saving' | 'writing';
  /** Bytes, examples, steps: of `total`. */
  readonly done: number;
  readonly total: number;
  /** Of training, at the pace so far; null until there is one. */
  readonly secondsLeft: number | null;
  /** Of the last step: cross-entropy in nats a target. Null before the first. */
  readonly loss: number | null;
  /** The last look at what is held out. */
  readonly heldOut: number | null;
  /** Tokens that go through the model in a second, over the last steps. */
  readonly tokensPerSecond: number | null;
}

export interface PlanTrainOptions extends TrainRecipe, FilesOptions {
  /** A model of the same vocabulary, which the KL divergence is measured from, such as the dense one that a mixture was grown from. Default: none. */
  readonly reference?: ModelTarget;
  /**
   * What computes: `wasm`, the CPU; `webgpu`, a GPU; or a `GPUDevice` of your own. `auto` (default): a real GPU where it is known to be faster with a
   * model of this size, else the CPU. The two do not come to the same bits (docs/webgpu.md).
   */
  readonly device?: DeviceKind;
  /** Threads that compute; default: all that can share memory. The result does not depend on it. */
  readonly lanes?: number | 'auto';
  /** Most bytes on the device: a training that would take more is refused before it begins. Default 4 GiB, on a GPU none. */
  readonly memoryLimit?: number;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
}

export interface TrainOptions extends PlanTrainOptions {
  /** A folder that does not exist yet or is empty (Node, Deno, Bun), or an output of one's own, such as `memoryOutput`. */
  readonly out: string | URL | OutputFolder;
  /**
   * Steps between two states that are kept in the folder, to go on from; at least one every ten minutes. 0: none, also when it is aborted.
   * Default 100.
   */
  readonly saveEvery?: number;
  /** Throws away what an earlier training with other options has left unfinished there. */
  readonly restart?: boolean;
  /** What goes on: the stage, how far it is, losses, tokens a second (`TrainProgress`). */
  readonly onProgress?: (progress: TrainProgress) => void;
}

export const trainJobOptions = {
  ...trainRecipe,
  reference: targetRule('The reference'),
  device: deviceKind,
  lanes,
  memoryLimit: anyMemoryLimit,
  wasmLocation: place,
};

/** Of jobs that write. */
export const trainWriteOptions = {
  saveEvery: defaulting(whole(0), 100),
  restart: truth,
  onProgress: callback,
};

/** Of `espalier/train`. */
export const planTrainOptions = { ...trainJobOptions, ...filesOptions, out: output } as const satisfies Schema<
  PlanTrainOptions & { readonly out?: TrainOptions['out'] }
>;

export const trainOptions = { ...planTrainOptions, ...trainWriteOptions } as const satisfies Schema<TrainOptions>;
