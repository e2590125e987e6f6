import { DOT, type Kernels, MICRO } from './kernels.ts';
import type { WasmMemory } from './memory.ts';

/** What this engine and processor do best: measured at start, in some tens of milliseconds, by the clock of the host. */
export interface Tuning {
  /** A number of MICRO: the f32 micro-kernel. */
  readonly micro: number;
  /** A number of DOT: the multiplication of quantised products. */
  readonly dot: number;
}

interface Candidates {
  readonly micros: readonly number[];
  readonly dots: readonly number[];
}

/** What is timed against each other: all of a list give the same bits, so that no result depends on what a clock said. */
export const CANDIDATES: Readonly<Record<'relaxed' | 'plain', Candidates>> = {
  relaxed: { micros: [MICRO.splat6Fused, MICRO.lane4Fused], dots: [DOT.relaxed16, DOT.relaxed32] },
  plain: { micros: [MICRO.splat5, MICRO.lane4, MICRO.splat6], dots: [DOT.wide] },
};

export function microName(micro: number): string {
  return Object.entries(MICRO).find(([, number]) => number === micro)![0];
}
export function dotName(dot: number): string {
  return Object.entries(DOT).find(([, number]) => number === dot)![0];
}

/**
 * Times the micro-kernels and dots against each other, interleaved, best of several rounds after a warm-up that lets the engine
 * compile them well. A relaxed dot must first give the right sums on its very first call, before any tier-up: one generation of
 * V8 computes it wrongly there (docs/architecture.md, "Relaxed SIMD").
 */
export function tune(kernels: Kernels, memory: WasmMemory, relaxed: boolean): Tuning {
  const at = memory.allocate(1 << 16);
  try {
    memory.u8.fill(0, at, at + (1 << 16));
    // the likely winner first: a later one must win clearly, and on a loaded machine that keeps the choice from wavering
    const { micros, dots } = CANDIDATES[relaxed ? 'relaxed' : 'plain'];
    const right = dots.filter((dot) => dot === DOT.wide || dotIsRight(kernels, memory, at, dot));
    const micro = fastest(micros, (number) => {
      const rows = kernels.microRows(number);
      // equal work for every shape: 240 rows in all
      for (let i = 0; i < 240; i += rows) kernels.micro(number, 128, at, at + 8192, at + 32768, 32, 0);
    });
    const dot = fastest(right.length > 0 ? right : [DOT.wide], (number) => {
      const tile = number === DOT.relaxed16 ? kernels.tileRelaxed16 : kernels.tileRelaxed32;
      // equal work: 120 rows in all
      for (let i = 0; i < 120; i += kernels.tileRows(number))
        tile(8, at, at + 8192, at + 32768, at + 36864, at + 40960);
    });
    return { micro, dot };
  } finally {
    memory.free(at);
  }
}

/** Milliseconds without news after which timing ends, and the most it may take; both longer where the clock is coarse. */
const QUIET = 12;
const MOST = 100;
/** A sample lasts this many steps of the clock, and at most so many milliseconds. */
const STEPS = 20;
const LONGEST = 4;

/** A page that is not cross-origin isolated sees a clock of 0.1 ms or coarser, in which one run takes no time at all. */
function clockStep(): number {
  let step = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    step = Math.min(step, now - start);
  }
  return step;
}

/**
 * The candidate with the least time, all timed in turn. An engine compiles a function well only after many calls, on another
 * thread, at a moment of its own: so timing goes on until no candidate has become faster for a while. A later candidate must win
 * by 4 % to displace an earlier one.
 */
function fastest(candidates: readonly number[], run: (candidate: number) => void): number {
  if (candidates.length === 1) return candidates[0]!;
  const best = new Map<number, number>(candidates.map((candidate) => [candidate, Number.POSITIVE_INFINITY]));
  const least = Math.min(LONGEST, STEPS * clockStep());
  const quiet = Math.max(QUIET, 3 * candidates.length * least);
  const most = Math.max(MOST, 3 * quiet);
  let repeats = 4;
  const began = performance.now();
  for (let news = began, now = began; now - news < quiet && now - began < most; ) {
    for (const candidate of candidates) {
      const start = performance.now();
      for (let i = 0; i < repeats; i++) run(candidate);
      now = performance.now();
      if (now - start < least) {
        repeats *= 2;
        news = now;
        continue;
      }
      const time = (now - start) / repeats;
      const before = best.get(candidate)!;
      if (time < before * 0.95) news = now;
      if (time < before) best.set(candidate, time);
    }
  }
  let choice = candidates[0]!;
  for (const candidate of candidates) if (best.get(candidate)! < best.get(choice)! * 0.96) choice = candidate;
  return choice;
}

/** One tile with known answers, extremes included. */
function dotIsRight(kernels: Kernels, memory: WasmMemory, at: number, dot: number): boolean {
  const bytes = memory.u8;
  const mr = kernels.tileRows(dot);
  const activations = new Int8Array(bytes.buffer, at, 32 * mr); // [8 steps][mr][4]
  const codes = new Uint8Array(bytes.buffer, at + 8192, 32 * 8); // [8 steps][8 columns][4]
  for (let i = 0; i < activations.length; i++)
    activations[i] = i % 5 === 0 ? -127 : i % 7 === 0 ? 127 : ((i * 37) % 255) - 127;
  for (let i = 0; i < codes.length; i++) codes[i] = i % 3 === 0 ? 15 : (i * 11) % 16;
  const scales = new Float32Array(bytes.buffer, at + 32768, mr).fill(1);
  const d = new Int16Array(bytes.buffer, at + 36864, 16).fill(1);
  const c = new Float32Array(bytes.buffer, at + 40960, 8 * mr).fill(0);
  const tile = dot === DOT.relaxed16 ? kernels.tileRelaxed16 : kernels.tileRelaxed32;
  tile(1, at, at + 8192, at + 32768, at + 36864, at + 40960);
  let right = true;
  for (let row = 0; row < mr; row++) {
    for (let column = 0; column < 8; column++) {
      let sum = 0;
      for (let step = 0; step < 8; step++) {
        for (let j = 0; j < 4; j++)
          sum += activations[step * 4 * mr + row * 4 + j]! * codes[step * 32 + column * 4 + j]!;
      }
      if (c[row * 8 + column] !== sum) right = false;
    }
  }
  scales.fill(0);
  d.fill(0);
  c.fill(0);
  return right;
}
