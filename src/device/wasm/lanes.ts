import { EspalierError } from '../../errors.ts';
import { heartbeat } from '../../runtime/host/heartbeat.ts';
import { MOST_LANES } from '../../runtime/host/lane-count.ts';
import { Loss } from '../../runtime/host/worker-loss.ts';
import type { Call, CommandTimes, LaneMemory, LaneScratch, SharedCall } from './calls.ts';
import {
  APART,
  boundOf,
  COMMANDS,
  controlWords,
  finish,
  give,
  helpIn,
  type LaneControl,
  LOST,
  MOST_PARTS,
  NONE,
  newControl,
  partOf,
  partsIn,
  RUNNING,
  SHARED,
  SLOT_WORDS,
  STATE,
  STOPPED,
  slotOf,
  take,
  tryWaiting,
  waitFinished,
  wakeAll,
} from './control.ts';
import type { KernelName, Kernels } from './kernels.ts';
import { ALIGN, type Arena, type WasmMemory } from './memory.ts';

/**
 * Lanes: threads that compute one operation together over one shared memory. The thread that owns the device is lane 0; the
 * others are workers that wait in `runLane` for a command. A command is some parts, each some kernels with their arguments, and
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

/** Calls of any kernel that fit the slot of a part. */
const MOST_CALLS = 6;
/** And of those that are cut, which may take the slots of all parts. */
const MOST_SHARED = 256;
/** Milliseconds of sleep after which lane 0 looks whether a lane is lost; whoever marks it wakes lane 0 too. */
const NAP = 1000;

/** Parts 0, …, count in ranges as equal as multiples of `align` allow: range i is bounds[i] .. bounds[i + 1]. */
export function evenly(count: number, parts: number, align = 1): number[] {
  const bounds: number[] = []; // a loop: Array.from takes a microsecond, five times a layer
  for (let i = 0; i <= parts; i++) bounds.push(boundOf(i, count, parts, align));
  return bounds;
}

/**
 * Whether so many lanes can be.
 * @throws E_ARGUMENT, also without shared memory where that was asked; E_NO_ISOLATION where the host has none
 */
export function checkLanes(count: number, shared: boolean | undefined): void {
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_LANES) || (count > 1 && shared === false)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `lanes is ${String(count)}${shared === false ? ' without shared memory' : ''}.`,
      `Give an integer from 1 to ${MOST_LANES}; more than one need shared memory.`,
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
  /** How this thread does a part of a command to all. */
  readonly #work: ((part: number) => void) | null = null;
  readonly #loss = new Loss();
  #commands = 0;
  /** Told of every command, where somebody looks. */
  watch: ((times: CommandTimes) => void) | null = null;
  #closed = false;

  /** @throws E_OUT_OF_MEMORY; E_ARGUMENT where this thread must not wait */
  constructor(kernels: Kernels, module: WebAssembly.Module, memory: WasmMemory, count: number) {
    this.count = count;
    this.#kernels = kernels;
    this.#module = module;
    this.#memory = memory;
    if (count === 1) return;
    this.#control = newControl();
    this.#words = controlWords(this.#control);
    this.#numbers = new Float64Array(this.#control);
    const exported = WebAssembly.Module.exports(module).map(({ name }) => name);
    for (const [i, name] of exported.entries()) this.#index.set(name, i);
    this.#work = partsIn(
      this.#control,
      exported.map((name) => kernels[name as KernelName]),
      0,
    );
    try {
      tryWaiting(this.#words);
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
    return this.#words === null ? 0 : helpIn(this.#words);
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

  /** Scratch of so many bytes for each lane. */
  scratch(arena: Arena, bytes: number): LaneMemory {
    const stride = Math.ceil(bytes / ALIGN) * ALIGN;
    return { at: arena.allocate(stride * this.count), stride };
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
      if (first < last) parts.push([[name, args(first, last, i)] as unknown as Call]);
    }
    this.dispatch(parts);
  }

  /** One command: its parts, each a list of calls. @throws as `run` */
  dispatch(parts: readonly (readonly Call[])[]): void {
    const words = this.#begin();
    const begun = this.watch ? performance.now() : 0;
    const kernels = () => (parts[0] ?? []).map(([name]) => name);
    if (words === null || parts.length < 2) {
      for (const calls of parts) this.#call(calls);
      this.watch?.({ ...ALONE, kernels: kernels(), begun, own: performance.now() - begun });
      return;
    }
    if (parts.length > MOST_PARTS) throw new Error('a command has too many parts');
    parts.forEach((calls, part) => {
      let at = this.#open(part, calls.length, APART);
      for (const [name, values, own] of calls) at = this.#put(at, name, [], values, own);
      this.#end(part, at);
    });
    this.#go(words, parts.length, begun, kernels);
  }

  /**
   * One command whose parts are equal ranges of `units`, which each lane cuts for itself: what is written, and read by all, does not grow with their
   * number. Several commands where there are many calls.
   * @param align ranges are cut at multiples of it @throws as `run`
   */
  share(units: number, parts: number, calls: readonly SharedCall[], align = 1): void {
    if (calls.length > MOST_SHARED && parts > 1) {
      this.share(units, parts, calls.slice(0, MOST_SHARED), align);
      this.share(units, parts, calls.slice(MOST_SHARED), align);
      return;
    }
    const words = this.#begin();
    const begun = this.watch ? performance.now() : 0;
    const kernels = () => calls.map(({ name }) => name);
    if (words === null || parts < 2) {
      for (const { name, values, range, count } of calls) {
        if (count === 0) continue;
        const own = [...values] as number[];
        own[range] = 0;
        own[range + 1] = count;
        (this.#kernels[name] as (...values: number[]) => void)(...own);
      }
      this.watch?.({ ...ALONE, kernels: kernels(), begun, own: performance.now() - begun });
      return;
    }
    if (parts > MOST_PARTS) throw new Error('a command has too many parts');
    let at = this.#open(0, calls.length, SHARED);
    for (const value of [units, parts, align]) this.#numbers![at++] = value;
    for (const call of calls) {
      const { name, values, range, before, count, own } = call;
      at = this.#put(at, name, [range, before, count], values, own);
    }
    if (2 * at > slotOf(MOST_PARTS)) throw new Error('a command is too long');
    this.#go(words, parts, begun, kernels);
  }

  /** The control words, where there are lanes. @throws E_WORKER_LOST */
  #begin(): Int32Array | null {
    heartbeat();
    const words = this.#words;
    if (words !== null && Atomics.load(words, STATE) !== RUNNING) throw this.#lost();
    return words;
  }

  /** Gives the command in the slots, does parts of it, and waits for those that others do. */
  #go(words: Int32Array, parts: number, begun: number, kernels: () => KernelName[]): void {
    this.#commands = (this.#commands + 1) % COMMANDS;
    const written = this.watch ? performance.now() : 0;
    const slept = give(words, this.#commands, parts);
    for (let ticket = take(words); ticket !== NONE; ticket = take(words)) {
      try {
        this.#work!(partOf(ticket));
      } catch (error) {
        // the other lanes may be in the middle of theirs: no command may follow
        Atomics.store(words, STATE, LOST);
        throw error;
      }
      finish(words, ticket);
    }
    const done = this.watch ? performance.now() : 0;
    while (!waitFinished(words, this.#commands, NAP)) {
      if (Atomics.load(words, STATE) !== RUNNING) throw this.#lost();
    }
    const times = { writing: written - begun, own: done - written, waiting: performance.now() - done };
    this.watch?.({ kernels: kernels(), parts, begun, ...times, slept });
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

  /** Begins a slot. @returns where its numbers go */
  #open(part: number, calls: number, form: typeof APART | typeof SHARED): number {
    const slot = slotOf(part);
    this.#words![slot] = calls;
    this.#words![slot + 1] = form;
    return (slot >> 1) + 1;
  }

  #end(part: number, at: number): void {
    if (2 * at > slotOf(part) + SLOT_WORDS) throw new Error('a command is too long for its slot');
  }

  /** @param cut of a call that is cut. @returns where the next one's numbers go */
  #put(
    at: number,
    name: KernelName,
    cut: readonly number[],
    values: readonly number[],
    own: LaneScratch | undefined,
  ): number {
    const numbers = this.#numbers!;
    let to = at;
    numbers[to++] = this.#index.get(name)!;
    numbers[to++] = values.length;
    numbers[to++] = own?.index ?? -1;
    numbers[to++] = own?.stride ?? 0;
    for (const value of cut) numbers[to++] = value;
    for (const value of values) numbers[to++] = value;
    return to;
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
    wakeAll(this.#words);
  }
}

/** Of what this thread has done by itself. */
const ALONE = { parts: 1, writing: 0, waiting: 0, slept: 0 } as const;

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
