import { MOST_LANES } from '../../runtime/host/lane-count.ts';

/**
 * What lanes share beside the device's memory: a command, who has taken which of its parts, and how many are done. The side that commands is
 * `Lanes`, a lane's `runLane`; both do parts by `partsIn`.
 */

/** The control block. It has memory of its own: see docs/architecture.md. */
export type LaneControl = SharedArrayBuffer;

// Words of 4 bytes, each with a cache line of its own, since every one of them is written while many look at another.
/** Number of the last command: what lanes look at while they wait, and written once a command. */
export const COMMAND = 0;
/** Number of the command (14 bits), its parts (8), parts taken (10), in one word: adding 1 takes a part, and says of which command. */
const TICKET = 16;
/** Parts of the command that are finished. */
const DONE = 32;
/** Number of the last command that is finished: what lane 0 looks at. */
const FINISHED = 48;
/** 1 while lane 0 sleeps on that. */
const WAITING = 64;
/** Lanes that sleep. */
const PARKED = 80;
/** RUNNING, STOPPED or LOST. */
export const STATE = 96;
export const RUNNING = 0;
export const STOPPED = 1;
export const LOST = 2;

/** A lane's number of parts that it has finished, ever: its own line. */
const HELPED = 112;
const LINE = 16;

/** Parts of a command, at most. Each lane may add once more to what is taken than there are. */
export const MOST_PARTS = 128;
export const COMMANDS = 1 << 14;
/** Words of the slot of a part: calls, form, then as f64 what they are. */
export const SLOT_WORDS = 256;
const SLOTS = HELPED + LINE * MOST_LANES;
const CONTROL_BYTES = 4 * (SLOTS + MOST_PARTS * SLOT_WORDS);

/**
 * Each part has a slot with its calls: for each the number of its export, the count of its arguments, which of them is the address of scratch memory
 * that each lane has for itself (-1: none) and bytes from a lane's to the next one's, and the arguments.
 */
export const APART = 0;
/**
 * All parts are in the first slot: units, parts and the multiple that ranges are cut at; for each call the same, but before the arguments also
 * which of them its first unit is, its place among the units of the command, and how many it has.
 */
export const SHARED = 1;

/** Milliseconds that a thread looks at a word before it sleeps on it: longer than what lies between two operations. */
const SPIN = 0.1;
/** Looks between two at the clock. */
const LOOKS = 64;

export function newControl(): LaneControl {
  return new SharedArrayBuffer(CONTROL_BYTES);
}

export function controlWords(control: LaneControl): Int32Array {
  return new Int32Array(control);
}

/** Word of the slot of a part. */
export function slotOf(part: number): number {
  return SLOTS + part * SLOT_WORDS;
}

/** Bound i of `units` in `parts` ranges that are as equal as multiples of `align` allow: range i is bound i .. bound i + 1. */
export function boundOf(i: number, units: number, parts: number, align: number): number {
  return Math.min(units, Math.round((Math.ceil(units / align) * i) / parts) * align);
}

/** No ticket: all parts are taken. */
export const NONE = -1;

function partsOf(ticket: number): number {
  return (ticket >>> 10) & 255;
}

function commandOf(ticket: number): number {
  return ticket >>> 18;
}

/** Which part a ticket is for. */
export function partOf(ticket: number): number {
  return ticket & 1023;
}

/**
 * Takes a part of whatever command has one. The word says which command it is of, so one that is taken late is still whole: a slot stays as it is until
 * all parts of its command are finished.
 * @returns the ticket, or NONE
 */
export function take(words: Int32Array): number {
  const seen = Atomics.load(words, TICKET);
  // who only looks leaves the word where it is
  if (partOf(seen) >= partsOf(seen)) return NONE;
  const ticket = Atomics.add(words, TICKET, 1);
  return partOf(ticket) < partsOf(ticket) ? ticket : NONE;
}

/** Counts a finished part; the last one lets lane 0 go on. */
export function finish(words: Int32Array, ticket: number): void {
  if (Atomics.add(words, DONE, 1) + 1 < partsOf(ticket)) return;
  Atomics.store(words, FINISHED, commandOf(ticket));
  if (Atomics.load(words, WAITING) !== 0) Atomics.notify(words, FINISHED);
}

/** Gives lanes a command that stands in its slots. @returns how many of them slept */
export function give(words: Int32Array, command: number, parts: number): number {
  Atomics.store(words, DONE, 0);
  Atomics.store(words, TICKET, (command << 18) | (parts << 10));
  Atomics.store(words, COMMAND, command);
  const parked = Atomics.load(words, PARKED);
  if (parked > 0) Atomics.notify(words, COMMAND);
  return parked;
}

/** Looks whether a command is finished, for some time, and then sleeps for `nap` milliseconds at most. @returns whether it is */
export function waitFinished(words: Int32Array, command: number, nap: number): boolean {
  const before = Atomics.load(words, FINISHED);
  if (before === command) return true;
  if (spin(words, FINISHED, before)) return Atomics.load(words, FINISHED) === command;
  Atomics.store(words, WAITING, 1);
  Atomics.wait(words, FINISHED, before, nap);
  Atomics.store(words, WAITING, 0);
  return Atomics.load(words, FINISHED) === command;
}

/** Whether this thread may wait for others. @throws where it may not */
export function tryWaiting(words: Int32Array): void {
  Atomics.wait(words, FINISHED, 0, 0);
}

/** Looks for a command after `seen`, and sleeps where none comes. */
export function waitForCommand(words: Int32Array, seen: number): void {
  if (spin(words, COMMAND, seen)) return;
  Atomics.add(words, PARKED, 1);
  // the state may have changed, and its notification passed, since it was looked at
  if (Atomics.load(words, STATE) === RUNNING) Atomics.wait(words, COMMAND, seen, 1000);
  Atomics.sub(words, PARKED, 1);
}

/** Wakes whoever sleeps: the state has changed. */
export function wakeAll(words: Int32Array): void {
  Atomics.notify(words, FINISHED);
  Atomics.notify(words, COMMAND);
}

/** For whoever sees a lane die: its engine, which may be waiting for it, then fails with E_WORKER_LOST. */
export function markLaneLost(control: LaneControl): void {
  const words = controlWords(control);
  Atomics.compareExchange(words, STATE, RUNNING, LOST);
  wakeAll(words);
}

/** Counts a part of a lane other than 0. */
export function countHelp(words: Int32Array, lane: number): void {
  const at = HELPED + LINE * lane;
  Atomics.store(words, at, Atomics.load(words, at) + 1);
}

/** Parts that lanes other than 0 have finished so far. */
export function helpIn(words: Int32Array): number {
  let sum = 0;
  for (let lane = 1; lane < MOST_LANES; lane++) sum += Atomics.load(words, HELPED + LINE * lane);
  return sum;
}

/** How a lane does a part of the command in the slots. @param kernels by the number of their export */
export function partsIn(control: LaneControl, kernels: readonly unknown[], lane: number): (part: number) => void {
  const words = controlWords(control);
  const numbers = new Float64Array(control);
  const values: number[] = [];
  const first = slotOf(0);
  const read = (at: number, count: number): void => {
    values.length = count;
    for (let i = 0; i < count; i++) values[i] = numbers[at + i]!;
  };
  const call = (kernel: number): void => (kernels[kernel] as (...values: number[]) => void)(...values);
  const apart = (part: number): void => {
    const slot = slotOf(part);
    let at = (slot >> 1) + 1;
    for (let calls = words[slot]!; calls > 0; calls--) {
      const [kernel, count, scratch, stride] = [numbers[at]!, numbers[at + 1]!, numbers[at + 2]!, numbers[at + 3]!];
      read(at + 4, count);
      if (scratch >= 0) values[scratch]! += lane * stride;
      call(kernel);
      at += 4 + count;
    }
  };
  const shared = (part: number): void => {
    let at = (first >> 1) + 1;
    const [units, parts, align] = [numbers[at]!, numbers[at + 1]!, numbers[at + 2]!];
    const [from, to] = [boundOf(part, units, parts, align), boundOf(part + 1, units, parts, align)];
    at += 3;
    for (let calls = words[first]!; calls > 0; calls--) {
      const [kernel, count, scratch, stride] = [numbers[at]!, numbers[at + 1]!, numbers[at + 2]!, numbers[at + 3]!];
      const [range, before, own] = [numbers[at + 4]!, numbers[at + 5]!, numbers[at + 6]!];
      const [begin, end] = [Math.max(0, from - before), Math.min(own, to - before)];
      if (begin < end) {
        read(at + 7, count);
        values[range] = begin;
        values[range + 1] = end;
        if (scratch >= 0) values[scratch]! += lane * stride;
        call(kernel);
      }
      at += 7 + count;
    }
  };
  return (part) => (words[first + 1] === SHARED ? shared(part) : apart(part));
}

const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});

/** Looks at a word until it is no longer `value`, for SPIN milliseconds at most; whether it changed. */
function spin(words: Int32Array, word: number, value: number): boolean {
  const end = performance.now() + SPIN;
  do {
    for (let i = 0; i < LOOKS; i++) {
      if (Atomics.load(words, word) !== value) return true;
      pause();
    }
  } while (performance.now() < end);
  return false;
}
