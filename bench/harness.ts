/**
 * Interleaved best-of-N timing: every round runs every contender once, forwards and backwards in turn, so that a slow moment
 * of the machine falls on all of them. For work of more than about a millisecond; smaller things belong to `micro`.
 */
import { cpus, totalmem } from 'node:os';

export interface Contender {
  readonly name: string;
  /** What one run gets through, in `unit`: 2 n³ / 1e9 GFLOP, 512 tokens, … */
  readonly unitsPerRun: number;
  readonly unit: string;
  /** Not timed; runs before every `run`. */
  before?(): Promise<unknown> | unknown;
  /** May return the seconds it took, where only it can know them (a child process with a clock of its own). */
  run(): Promise<unknown> | unknown;
}

export interface Timing {
  name: string;
  unit: string;
  /** Units a second. */
  best: number;
  median: number;
  /** The first contender's best divided by this one's: above 1 where the first is faster. */
  ratio: number;
  /** Every round, in order. */
  seconds: number[];
}

export interface Options {
  rounds?: number;
  /** Untimed runs of each contender at the start. */
  warmup?: number;
}

/** Times the contenders, all of one unit; the first one is ours. */
export async function compare(contenders: readonly Contender[], options: Options = {}): Promise<Timing[]> {
  const { rounds = 8, warmup = 2 } = options;
  for (const contender of contenders) for (let i = 0; i < warmup; i++) await time(contender);
  const seconds = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = contenders.map((_, i) => (round % 2 ? contenders.length - 1 - i : i));
    for (const i of order) seconds[i]!.push(await time(contenders[i]!));
  }
  const rate = (i: number, s: number): number => contenders[i]!.unitsPerRun / s;
  const best = seconds.map((all, i) => rate(i, Math.min(...all)));
  return contenders.map(({ name, unit }, i) => ({
    name,
    unit,
    best: best[i]!,
    median: rate(i, median(seconds[i]!)),
    ratio: best[0]! / best[i]!,
    seconds: seconds[i]!,
  }));
}

async function time(contender: Contender): Promise<number> {
  await contender.before?.();
  const start = performance.now();
  const own = contender.run();
  const value = own instanceof Promise ? await own : own; // no microtask between the clocks of a synchronous run
  const elapsed = (performance.now() - start) / 1000;
  return typeof value === 'number' ? value : elapsed;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  arch: string;
  runtime: string;
  versions: string[];
  date: string;
}

export function machine(versions: readonly (string | null)[] = []): Machine {
  const deno = (globalThis as { Deno?: { version: { deno: string; v8: string } } }).Deno?.version;
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    arch: `${process.platform} ${process.arch}`,
    runtime: deno ? `Deno ${deno.deno}, V8 ${deno.v8}` : `Node ${process.versions.node}, V8 ${process.versions['v8']}`,
    versions: versions.filter((version) => version !== null),
    date: new Date().toISOString().slice(0, 10),
  };
}

export function header(m: Machine): string {
  const lines = [`${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB, ${m.arch}`, `${m.runtime}, ${m.date}`];
  if (m.versions.length) lines.push(m.versions.join(', '));
  return lines.join('\n');
}

/** A plain text table: text to the left, numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? digits(cell) : cell)))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const left = head.map((_, column) => rows.every((row) => typeof row[column] === 'string'));
  return cells
    .map((row) => row.map((c, i) => (left[i] ? c.padEnd(widths[i]!) : c.padStart(widths[i]!))).join('  '))
    .map((line) => line.trimEnd())
    .join('\n');
}

function digits(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The ratio table of one comparison. */
export function ratios(timings: readonly Timing[]): string {
  const [first] = timings;
  if (!first) return '(nothing to compare)';
  const head = ['contender', `best ${first.unit}/s`, 'median', `${first.name} / it`];
  return table(
    head,
    timings.map((t) => [t.name, t.best, t.median, t.ratio]),
  );
}

/** A line for a goal: met or not, by how much. */
export function goal(what: string, reached: number, wanted: number): string {
  return `${reached >= wanted ? 'met   ' : 'MISSED'}  ${what}: ${reached.toFixed(2)} (goal ${wanted.toFixed(2)})`;
}
