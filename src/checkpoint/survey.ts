import type { Checkpoint, ModelConfig } from './types.ts';

/** What could be read of a model, whether or not it can be used. */
export interface Survey extends Omit<Checkpoint, 'config' | 'byteLength' | 'close'> {
  /** Null where it could not be read. */
  readonly config: ModelConfig | null;
}
