import { EspalierError } from '../../errors.ts';
import type { KernelName, Kernels } from './kernels.ts';
import type { WasmMemory } from './memory.ts';

/**
 * Lanes: threads that compute one operation together over one shared memory. The thread that owns the device is lane 0; the
 * others are workers that wait in `runLane` for a command, each a kernel and its arguments, so that nothing here knows what is
 * computed. Commands stand in a control block in the shared memory.
 */

/** What a lane starts with; it survives structured cloning. */
export interface LaneSeat {
  readonly module: WebAssembly.Module;
  /** Shared. */
  readonly memory: WebAssembly.Memory;
  /** Address of the control block. */
  readonly control: number;
  /** From 1; lane 0 is the device's own thread. */
  readonly lane: number;
}

// The control block: words of 4 bytes, each on a cache line of its own, then a slot for each lane.
export const SEQUENCE = 0; // grows by one with each command
export const PARKED = 16; // lanes that sleep
export const PENDING = 32; // lanes that have not finished the command
export const STATE = 48; // RUNNING, STOPPED or LOST
const SLOTS = 64;
const SLOT_WORDS = 256; // count of calls, -, then for each as f64: number of the export, count of arguments, arguments
export const RUNNING = 0;
export const STOPPED = 1;
export const LOST = 2;

/** Milliseconds that a thread looks at a word before it sleeps on it: longer than what lies between two operations. */
export const SPIN = 0.1;
/** Looks between two at the clock. */
const LOOKS = 64;
/** Milliseconds of sleep before lane 0 looks whether a lane is lost; whoever marks it wakes lane 0 too. */
const NAP = 1000;

/** Bytes of a control block. */
export function controlBytes(lanes: number): number {
  return 4 * (SLOTS + lanes * SLOT_WORDS);
}

/** Word of the slot of a lane. */
export function slotOf(lane: number): number {
  return SLOTS + lane * SLOT_WORDS;
}

/** Words of a block as they are seen through a shared memory, which stay valid when it grows. */
export function controlWords(memory: WebAssembly.Memory, control: number): Int32Array {
  return new Int32Array(memory.buffer, control);
}

const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});

/** Looks at a word until it is no longer `value`, for SPIN milliseconds at most; whether it changed. */
export function spin(words: Int32Array, word: number, value: number): boolean {
  const end = performance.now() + SPIN;
  do {
    for (let i = 0; i < LOOKS; i++) {
      if (Atomics.load(words, word) !== value) return true;
      pause();
    }
  } while (performance.now() < end);
  return false;
}

/** For whoever sees a lane die: its engine, which may be waiting for it, then fails with E_WORKER_LOST. */
export function markLaneLost(seat: Pick<LaneSeat, 'memory' | 'control'>): void {
  const words = controlWords(seat.memory, seat.control);
  Atomics.compareExchange(words, STATE, RUNNING, LOST);
  Atomics.notify(words, PENDING);
  Atomics.notify(words, SEQUENCE);
}

/** Parts 0, …, count in ranges as equal as multiples of `align` allow: range i is bounds[i] .. bounds[i + 1]. */
export function evenly(count: number, parts: number, align = 1): number[] {
  const units = Math.ceil(count / align);
  return Array.from({ length: parts + 1 }, (_, i) => Math.min(count, Math.round((units * i) / parts) * align));
}

/** A kernel and its arguments. */
export type Call = readonly [name: KernelName, values: readonly number[]];

/** The commanding side. With one lane a command is a plain call. */
export class Lanes {
  readonly count: number;
  readonly #kernels: Kernels;
  readonly #words: Int32Array | null = null;
  readonly #numbers: Float64Array | null = null;
  readonly #memory: WasmMemory;
  readonly #control: number = 0;
  readonly #module: WebAssembly.Module;
  /** Export number by name, the same in all instances of the module. */
  readonly #index = new Map<string, number>();
  #sequence = 0;
  #closed = false;

  /** @throws E_OUT_OF_MEMORY; E_ARGUMENT where this thread must not wait */
  constructor(kernels: Kernels, module: WebAssembly.Module, memory: WasmMemory, count: number) {
    this.count = count;
    this.#kernels = kernels;
    this.#module = module;
    this.#memory = memory;
    if (count === 1) return;
    this.#control = memory.allocate(controlBytes(count));
    this.#words = controlWords(memory.memory, this.#control);
    this.#numbers = new Float64Array(memory.memory.buffer, this.#control);
    this.#words.fill(0, 0, controlBytes(count) / 4);
    WebAssembly.Module.exports(module).forEach(({ name }, i) => {
      this.#index.set(name, i);
    });
    try {
      Atomics.wait(this.#words, SEQUENCE, 0, 0);
    } catch (cause) {
      throw new EspalierError(
        'E_ARGUMENT',
        'The main thread of a page must not wait for lanes.',
        'Use `open`, which computes in a worker, or create the device in a worker of your own.',
        { cause },
      );
    }
  }

  /** Seats of the lanes beside this thread. */
  seats(): LaneSeat[] {
    return Array.from({ length: this.count - 1 }, (_, i) => ({
      module: this.#module,
      memory: this.#memory.memory,
      control: this.#control,
      lane: i + 1,
    }));
  }

  /**
   * Calls a kernel for each range of `bounds`, one a lane, on all lanes at once, and returns when all are done. args: the
   * arguments for first .. last - 1; `lane` picks scratch memory of its own.
   * @throws E_WORKER_LOST, after which every call throws it
   */
  run(
    name: KernelName,
    bounds: readonly number[],
    args: (first: number, last: number, lane: number) => number[],
  ): void {
    const calls: Call[][] = [];
    for (let lane = 0; lane < bounds.length - 1; lane++) {
      const [first, last] = [bounds[lane]!, bounds[lane + 1]!];
      calls.push(first < last ? [[name, args(first, last, lane)]] : []);
    }
    this.dispatch(calls);
  }

  /** One command: the calls of each lane, in order; lanes beyond the list have none. @throws as `run` */
  dispatch(calls: readonly (readonly Call[])[]): void {
    const words = this.#words;
    if (words !== null && Atomics.load(words, STATE) !== RUNNING) throw lost();
    let busy = false;
    for (let lane = 1; lane < this.count; lane++) {
      const own = calls[lane] ?? [];
      if (own.length > 0) busy = true;
      this.#write(slotOf(lane), own);
    }
    if (busy) {
      Atomics.store(words!, PENDING, this.count - 1);
      this.#sequence = (this.#sequence + 1) | 0;
      Atomics.store(words!, SEQUENCE, this.#sequence);
      if (Atomics.load(words!, PARKED) > 0) Atomics.notify(words!, SEQUENCE);
    }
    for (const [name, values] of calls[0] ?? []) (this.#kernels[name] as (...values: number[]) => void)(...values);
    if (busy) this.#join(words!);
  }

  #write(slot: number, calls: readonly Call[]): void {
    this.#words![slot] = calls.length;
    let at = (slot >> 1) + 1;
    if (calls.reduce((sum, [, values]) => sum + 2 + values.length, 1) > SLOT_WORDS / 2) {
      throw new Error('a command is too long for its slot');
    }
    for (const [name, values] of calls) {
      this.#numbers![at++] = this.#index.get(name)!;
      this.#numbers![at++] = values.length;
      for (const value of values) this.#numbers![at++] = value;
    }
  }

  #join(words: Int32Array): void {
    for (;;) {
      const pending = Atomics.load(words, PENDING);
      if (pending === 0) return;
      if (Atomics.load(words, STATE) !== RUNNING) throw lost();
      if (!spin(words, PENDING, pending)) Atomics.wait(words, PENDING, pending, NAP);
    }
  }

  /** Lets the lanes end. */
  close(): void {
    if (this.#closed || this.#words === null) return;
    this.#closed = true;
    Atomics.store(this.#words, STATE, STOPPED);
    Atomics.notify(this.#words, SEQUENCE);
  }
}

function lost(): EspalierError {
  return new EspalierError(
    'E_WORKER_LOST',
    'A lane of the engine is gone.',
    'Close the engine and open a new one; if this repeats, the machine may be out of memory.',
  );
}
