import { EspalierError } from '../../errors.ts';
import { heartbeat } from '../../runtime/host/heartbeat.ts';
import { Loss } from '../../runtime/host/worker-loss.ts';
import type { KernelName, Kernels } from './kernels.ts';
import type { WasmMemory } from './memory.ts';

/**
 * Lanes: threads that compute one operation together over one shared memory. The thread that owns the device is lane 0; the
 * others are workers that wait in `runLane` for a command. A command is a list of parts, each some kernels with their arguments, and
 * whoever is free takes the next part: a lane that sleeps, or that the system has put aside, holds nobody up. Nothing here knows
 * what is computed.
 */

/** What a lane starts with; it survives structured cloning. */
export interface LaneSeat {
  readonly module: WebAssembly.Module;
  /** Shared. */
  readonly memory: WebAssembly.Memory;
  readonly control: LaneControl;
  /** From 1; lane 0 is the device's own thread. */
  readonly lane: number;
}

/** The first message to the worker of a lane: its seat, or who sends it. */
export type LaneFirst = LaneSeat | { readonly port: MessagePort };

/**
 * The control block. It has memory of its own: whoever starts lanes and hears of their death needs it, and must not hold the device's memory,
 * which the garbage collector of a thread that computes nothing might leave standing for long.
 */
export type LaneControl = SharedArrayBuffer;

// Its words of 4 bytes, each on a cache line of its own, then a slot for each part.
/** Number of the command (16 bits), its parts (8), parts taken (8), in one word, so that taking a part is one exchange. */
export const TICKET = 0;
export const PARKED = 16; // lanes that sleep
export const DONE = 32; // parts of the command that are finished
export const HELPED = 33; // parts that lanes other than 0 have finished, ever
export const STATE = 48; // RUNNING, STOPPED or LOST
const SLOTS = 64;
const SLOT_WORDS = 256; // count of calls, -, then for each as f64: number of the export, count of arguments, arguments
const MOST_PARTS = 128;
/** Calls of any kernel that fit the slot of a part. */
const MOST_CALLS = 7;
export const RUNNING = 0;
export const STOPPED = 1;
export const LOST = 2;

/** Milliseconds that a thread looks at a word before it sleeps on it: longer than what lies between two operations. */
export const SPIN = 0.1;
/** Looks between two at the clock. */
const LOOKS = 64;
/** Milliseconds of sleep after which lane 0 looks whether a lane is lost; whoever marks it wakes lane 0 too. */
const NAP = 1000;

const CONTROL_BYTES = 4 * (SLOTS + MOST_PARTS * SLOT_WORDS);

/** Word of the slot of a part. */
export function slotOf(part: number): number {
  return SLOTS + part * SLOT_WORDS;
}

/** The part that a ticket offers, or -1 when all are taken. */
export function offered(ticket: number): number {
  const next = ticket & 255;
  return next < ((ticket >>> 8) & 255) ? next : -1;
}

/** Counts a finished part, and wakes lane 0 with the last. */
export function finish(words: Int32Array, ticket: number): void {
  if (Atomics.add(words, DONE, 1) + 1 === ((ticket >>> 8) & 255)) Atomics.notify(words, DONE);
}

export function controlWords(control: LaneControl): Int32Array {
  return new Int32Array(control);
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
export function markLaneLost(control: LaneControl): void {
  const words = controlWords(control);
  Atomics.compareExchange(words, STATE, RUNNING, LOST);
  Atomics.notify(words, DONE);
  Atomics.notify(words, TICKET);
}

/** Parts 0, …, count in ranges as equal as multiples of `align` allow: range i is bounds[i] .. bounds[i + 1]. */
export function evenly(count: number, parts: number, align = 1): number[] {
  const units = Math.ceil(count / align);
  const bounds: number[] = []; // a loop: Array.from takes a microsecond, five times a layer
  for (let i = 0; i <= parts; i++) bounds.push(Math.min(count, Math.round((units * i) / parts) * align));
  return bounds;
}

/**
 * Whether so many lanes can be.
 * @throws E_ARGUMENT, also without shared memory where that was asked; E_NO_ISOLATION where the host has none
 */
export function checkLanes(count: number, shared: boolean | undefined): void {
  if (!(Number.isInteger(count) && count >= 1) || (count > 1 && shared === false)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `lanes is ${String(count)}${shared === false ? ' without shared memory' : ''}.`,
      'Give an integer of at least 1; more than one need shared memory.',
    );
  }
  if (count > 1 && typeof SharedArrayBuffer !== 'function') {
    throw new EspalierError(
      'E_NO_ISOLATION',
      `${count} lanes need shared memory, which this page does not have.`,
      'Serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or use one lane.',
    );
  }
}

/** A kernel and its arguments: as many as it has, or it does not compile. */
export type Call<K extends KernelName = KernelName> = {
  readonly [N in K]: readonly [name: N, values: Readonly<Parameters<Kernels[N]>>];
}[K];

/** The commanding side. With one lane a command is a plain call. */
export class Lanes {
  readonly count: number;
  readonly #kernels: Kernels;
  readonly #words: Int32Array | null = null;
  readonly #numbers: Float64Array | null = null;
  readonly #memory: WasmMemory;
  readonly #control: LaneControl | null = null;
  readonly #module: WebAssembly.Module;
  /** Export number by name, the same in all instances of the module. */
  readonly #index = new Map<string, number>();
  readonly #loss = new Loss();
  #commands = 0;
  #closed = false;

  /** @throws E_OUT_OF_MEMORY; E_ARGUMENT where this thread must not wait */
  constructor(kernels: Kernels, module: WebAssembly.Module, memory: WasmMemory, count: number) {
    this.count = count;
    this.#kernels = kernels;
    this.#module = module;
    this.#memory = memory;
    if (count === 1) return;
    this.#control = new SharedArrayBuffer(CONTROL_BYTES);
    this.#words = controlWords(this.#control);
    this.#numbers = new Float64Array(this.#control);
    WebAssembly.Module.exports(module).forEach(({ name }, i) => {
      this.#index.set(name, i);
    });
    try {
      Atomics.wait(this.#words, TICKET, 0, 0);
    } catch (cause) {
      throw new EspalierError(
        'E_ARGUMENT',
        'The main thread of a page must not wait for lanes.',
        'Use `open`, which computes in a worker, or create the device in a worker of your own.',
        { cause },
      );
    }
  }

  /** Calls back once when a lane is gone: with the first operation that fails for it, or before, where `lookOut` is called. */
  onLost(callback: (cause: unknown) => void): void {
    this.#loss.onLost(callback);
  }

  /** For who starts a lane and may hear of its death: it looks whether that was a loss, and holds nothing of the device's memory. */
  lookOut(): () => void {
    return looker(this.#words!, this.#loss);
  }

  /** Parts of commands that other lanes have done so far: whether they help at all. */
  get helped(): number {
    return this.#words === null ? 0 : Atomics.load(this.#words, HELPED);
  }

  /** Seats of the lanes beside this thread. */
  seats(): LaneSeat[] {
    return Array.from({ length: this.count - 1 }, (_, i) => ({
      module: this.#module,
      memory: this.#memory.memory,
      control: this.#control!,
      lane: i + 1,
    }));
  }

  /**
   * How many parts to make of some work: one when it is not worth a command, else one a lane, or `fine` a lane where cutting costs
   * nothing, because then no lane waits for a slower one.
   *
   * @param work in whatever unit `least` is: the least work that is shared out
   */
  parts(work: number, least: number, fine = 1): number {
    if (this.count === 1 || work < least) return 1;
    return Math.min(MOST_PARTS, this.count * (work < 4 * fine * least ? 1 : fine));
  }

  /**
   * Calls a kernel for each range of `bounds`, on all lanes at once, and returns when all are done. args: the arguments for
   * first .. last - 1; `part` picks scratch memory of its own.
   * @throws E_WORKER_LOST, after which every call throws it
   */
  run<K extends KernelName>(
    name: K,
    bounds: readonly number[],
    args: (first: number, last: number, part: number) => Readonly<Parameters<Kernels[K]>>,
  ): void {
    const parts: Call[][] = [];
    for (let i = 0; i < bounds.length - 1; i++) {
      const [first, last] = [bounds[i]!, bounds[i + 1]!];
      if (first < last) parts.push([[name, args(first, last, i)] as readonly [KernelName, readonly number[]] as Call]);
    }
    this.dispatch(parts);
  }

  /** One command: its parts, each a list of calls. @throws as `run` */
  dispatch(parts: readonly (readonly Call[])[]): void {
    heartbeat();
    const words = this.#words;
    if (words !== null && Atomics.load(words, STATE) !== RUNNING) throw this.#lost();
    if (words === null || parts.length < 2) {
      for (const calls of parts) this.#call(calls);
      return;
    }
    if (parts.length > MOST_PARTS) throw new Error('a command has too many parts');
    parts.forEach((calls, part) => {
      this.#write(slotOf(part), calls);
    });
    Atomics.store(words, DONE, 0);
    this.#commands = (this.#commands + 1) & 0xffff;
    const ticket = (this.#commands << 16) | (parts.length << 8);
    Atomics.store(words, TICKET, ticket);
    if (Atomics.load(words, PARKED) > 0) Atomics.notify(words, TICKET);
    for (;;) {
      const now = Atomics.load(words, TICKET);
      const part = offered(now);
      if (part < 0) break;
      if (Atomics.compareExchange(words, TICKET, now, now + 1) !== now) continue;
      try {
        this.#call(parts[part]!);
      } catch (error) {
        // the other lanes may be in the middle of theirs: no command may follow
        Atomics.store(words, STATE, LOST);
        throw error;
      }
      finish(words, ticket);
    }
    this.#join(words, parts.length);
  }

  /** The same in several commands where a part has more calls than its slot holds. @throws as `run` */
  dispatchLong(parts: readonly (readonly Call[])[]): void {
    const most = Math.max(0, ...parts.map((calls) => calls.length));
    if (parts.length < 2 || most <= MOST_CALLS) {
      this.dispatch(parts);
      return;
    }
    for (let i = 0; i < most; i += MOST_CALLS) {
      const some = parts.map((calls) => calls.slice(i, i + MOST_CALLS));
      this.dispatch(some.filter((calls) => calls.length > 0));
    }
  }

  #call(calls: readonly Call[]): void {
    for (const [name, values] of calls) (this.#kernels[name] as (...values: number[]) => void)(...values);
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

  #join(words: Int32Array, parts: number): void {
    for (;;) {
      const done = Atomics.load(words, DONE);
      if (done === parts) return;
      if (Atomics.load(words, STATE) !== RUNNING) throw this.#lost();
      if (!spin(words, DONE, done)) Atomics.wait(words, DONE, done, NAP);
    }
  }

  #lost(): EspalierError {
    const error = lost();
    this.#loss.lose(error);
    return error;
  }

  /** Lets the lanes end. */
  close(): void {
    if (this.#closed || this.#words === null) return;
    this.#closed = true;
    Atomics.store(this.#words, STATE, STOPPED);
    Atomics.notify(this.#words, TICKET);
  }
}

function lost(): EspalierError {
  return new EspalierError(
    'E_WORKER_LOST',
    'A lane of the engine is gone.',
    'Close the engine and open a new one; if this repeats, the machine may be out of memory.',
  );
}

function looker(words: Int32Array, loss: Loss): () => void {
  return () => {
    if (Atomics.load(words, STATE) === LOST) loss.lose(lost());
  };
}
