/** What a command is made of. */
import type { KernelName, Kernels } from './kernels.ts';

/** Memory that each lane has for itself while a command lasts: which argument of a kernel is its address, and bytes from a lane's to the next one's. */
export interface LaneScratch {
  readonly index: number;
  readonly stride: number;
}

/** Where that of lane 0 begins, and bytes to the next one's. */
export interface LaneMemory {
  readonly at: number;
  readonly stride: number;
}

/** A kernel and its arguments: as many as it has, or it does not compile. */
export type Call<K extends KernelName = KernelName> = {
  readonly [N in K]: readonly [name: N, values: Readonly<Parameters<Kernels[N]>>, own?: LaneScratch];
}[K];

/** A call whose kernel takes units first .. last - 1 of its own. */
export type RangedCall<K extends KernelName = KernelName> = {
  readonly [N in K]: {
    readonly name: N;
    /** With any two numbers where first and last are. */
    readonly values: Readonly<Parameters<Kernels[N]>>;
    /** Index of first among them; last follows. */
    readonly range: number;
    readonly own?: LaneScratch | undefined;
  };
}[K];

/** One that is cut: each part has those of its units that lie in its range of the command's. */
export type SharedCall<K extends KernelName = KernelName> = RangedCall<K> & {
  /** Where its units begin among those of the command, and how many it has. */
  readonly before: number;
  readonly count: number;
};

/** What became of a command, in milliseconds; see `npm run bench -- where`. */
export interface CommandTimes {
  /** Of the first part, or of all. */
  readonly kernels: readonly KernelName[];
  readonly parts: number;
  /** When it was begun, by `performance.now()`, how long it took to write, lane 0's parts, and its wait for the others. */
  readonly begun: number;
  readonly writing: number;
  readonly own: number;
  readonly waiting: number;
  /** Lanes that had to be woken. */
  readonly slept: number;
}
