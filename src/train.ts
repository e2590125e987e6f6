/** Training (`espalier/train`), in the calling thread with as many lanes as asked for. */

export type { MicroBatch, Parameter, PassLosses, PassOptions, Trainable } from './train/trainable.ts';
