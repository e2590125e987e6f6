/** Options of opening a checkpoint. */
import { callback, type Schema } from '../options/rules.ts';
import { type FilesOptions, filesOptions } from '../runtime/hub/options.ts';

/** Where models come from, and what is told meanwhile. */
export interface OpenOptions extends FilesOptions {
  /** Called after each file whose header was read, with files so far and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Of `openCheckpoint`. */
export const checkpointOptions = {
  ...filesOptions,
  onProgress: callback,
} as const satisfies Schema<OpenOptions>;
