/**
 * Hostile models through everything that a user does with one: each must end in a code or in finite numbers, within 5 s of processor time
 * and 4 times its size + 100 MB of memory. Memory is the growth of the process's highest mark, so that only what raises it is told.
 *
 * usage: node --import tsx test/hostile/run.ts [--from N] [--count 1000] [--jobs 2]
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { scriptCommand } from '../hosts/script.ts';

export interface Outcome {
  readonly seed: number;
  readonly what: string;
  /** A code, `opens`, or behind `!!` what is wrong. */
  readonly end: string;
  readonly bytes: number;
  readonly seconds: number;
  /** Bytes. */
  readonly memory: number;
  /** The process's highest mark so far. */
  readonly peak: number;
}

const MOST_SECONDS = 5;
const mostMemory = (bytes: number): number => 4 * bytes + 100e6;
/** A process is fresh after so many, so that the mark is low again. */
const BATCH = 20;
/** Without a line for so long, it hangs. */
const PATIENCE = 60_000;

/** What is wrong with how a file ended; null: nothing. */
export function faultOf({ end, bytes, seconds, memory }: Outcome): string | null {
  if (end.startsWith('!!')) return end;
  if (seconds > MOST_SECONDS) return `${seconds.toFixed(1)} s`;
  if (memory > mostMemory(bytes)) return `${(memory / 1e6).toFixed(0)} MB for a file of ${(bytes / 1e6).toFixed(1)} MB`;
  return null;
}

/** Runs `count` of them from `from` on in processes of their own. */
export async function attack(from: number, count: number, jobs: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = Array.from({ length: Math.ceil(count / BATCH) }, (_, i) => from + i * BATCH);
  const lane = async (): Promise<void> => {
    for (let start = queue.shift(); start !== undefined; start = queue.shift()) {
      const end = Math.min(start + BATCH, from + count);
      while (start < end) start = await batch(start, end - start, outcomes);
    }
  };
  await Promise.all(Array.from({ length: jobs }, lane));
  return outcomes.sort((a, b) => a.seed - b.seed);
}

/** @returns where to go on: behind the batch, or behind what killed the process */
function batch(from: number, count: number, outcomes: Outcome[]): Promise<number> {
  const [program, ...args] = scriptCommand(new URL('child.ts', import.meta.url), ['--expose-gc']);
  return new Promise((done) => {
    const process_ = spawn(program!, [...args, `${from}`, `${count}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    /** Up to here all have been told. */
    let next = from;
    let what = 'start';
    let errors = '';
    let hangs = false;
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        hangs = true;
        process_.kill('SIGKILL');
      }, PATIENCE);
    };
    wait();
    process_.stderr.on('data', (data) => {
      errors = (errors + data).slice(-1000);
    });
    createInterface({ input: process_.stdout }).on('line', (line) => {
      wait();
      const said = JSON.parse(line) as Outcome;
      what = said.what;
      if (said.end === undefined) return; // it begins
      outcomes.push(said);
      next = said.seed + 1;
    });
    process_.on('close', () => {
      clearTimeout(timer);
      if (next === from + count) return done(next);
      const end = hangs ? '!! hangs' : `!! the process ends: ${errors}`;
      outcomes.push({ seed: next, what, end, bytes: 0, seconds: 0, memory: 0, peak: 0 });
      done(next + 1);
    });
  });
}

/** Prints how they ended; @returns those that ended wrong */
export function tell(outcomes: readonly Outcome[]): readonly Outcome[] {
  const ends = new Map<string, number>();
  for (const { end } of outcomes) ends.set(end.slice(0, 40), (ends.get(end.slice(0, 40)) ?? 0) + 1);
  for (const [end, count] of [...ends].sort((a, b) => b[1] - a[1])) console.log(`    ${count} ${end}`);
  const bad = outcomes.filter((outcome) => faultOf(outcome) !== null);
  for (const outcome of bad) console.log(`  !! ${outcome.seed} ${outcome.what}: ${faultOf(outcome)}`);
  const most = (of: (outcome: Outcome) => number): number => Math.max(0, ...outcomes.map(of));
  console.log(
    `  worst of ${outcomes.length} hostile models: ${most((o) => o.seconds).toFixed(2)} s of ${MOST_SECONDS}, ` +
      `${most((o) => o.memory / mostMemory(o.bytes)).toFixed(2)} of the memory allowed`,
  );
  return bad;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      from: { type: 'string', default: '0' },
      count: { type: 'string', default: '1000' },
      jobs: { type: 'string', default: '2' },
    },
  });
  const outcomes = await attack(Number(values.from), Number(values.count), Number(values.jobs));
  const bad = tell(outcomes);
  console.log(`${outcomes.length - bad.length} passed, ${bad.length} failed`);
  process.exitCode = bad.length > 0 || outcomes.length === 0 ? 1 : 0;
}
