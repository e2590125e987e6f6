/** Runs as processes, some at once, each as soon as what it needs is there. */
import { fork } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Turns } from '../../src/queue.ts';
import type { Task, Told } from './child.ts';
import { addResult, chosenRate, type Found, foundOf, type Result, type Results, readResults } from './results.ts';
import { GIVEN, idOf, isOurs, needsOf, type Run, sweepOf } from './runs.ts';
import { referenceOf, type Setting } from './setting.ts';

export interface PoolOptions {
  /** Lines of results that are there already are not done again. */
  readonly results: string;
  readonly jobs: number;
  /** After so many milliseconds none is started, and after so many none goes on. */
  readonly startFor: number;
  readonly endAfter: number;
  /** Also what has failed before. */
  readonly again: boolean;
  /** The program of a run; default child.ts. */
  readonly child?: URL;
  readonly say: (line: string) => void;
}

/** What stands between a run and its beginning; null: nothing. */
export type Obstacle = 'done' | 'failed' | 'waits' | 'in vain';

export function obstacleOf(run: Run, results: Results, again: boolean): Obstacle | null {
  const own = results.get(idOf(run));
  if (own?.found && !isOfOtherRate(own, results)) return 'done';
  if (own && !own.found && !again) return 'failed';
  const missing = needsOf(run).filter((id) => !results.get(id)?.found);
  // one rate of a sweep may diverge
  const lost = missing.filter((id) => results.get(id)?.error !== undefined && !id.startsWith('sweep'));
  if (lost.length > 0) return 'in vain';
  if (missing.some((id) => !results.has(id))) return 'waits';
  return run.kind === 'unlearn' && !isOurs(run.method) && chosenRate(results, run.method) === null ? 'in vain' : null;
}

/** A rival that was measured with another rate than is chosen now that more have been tried. */
function isOfOtherRate({ run, found }: Result, results: Results): boolean {
  if (run.kind !== 'unlearn' || isOurs(run.method)) return false;
  const isSwept = sweepOf(run.method).every((one) => results.has(idOf(one)));
  return isSwept && (found as Found['unlearn']).rate !== chosenRate(results, run.method);
}

/** @returns how many were done, and how many are left */
export async function runAll(
  runs: readonly Run[],
  setting: Setting,
  options: PoolOptions,
): Promise<{ readonly done: number; readonly failed: number; readonly left: number }> {
  const { results: path, jobs, startFor, endAfter, say } = options;
  const began = performance.now();
  const clock = () => performance.now() - began;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), Math.min(endAfter, 2 ** 31 - 1));
  const results = new Map(await readResults(path));
  for (const [id, { run }] of results) {
    // results may have come from another machine, and what was made there has not
    if (run.kind !== 'reference' || run.split === GIVEN) continue;
    const weights = join(referenceOf(setting, run.split), 'model.safetensors');
    await access(weights).catch(() => results.delete(id));
  }
  const running = new Map<string, Promise<void>>();
  const tried = new Set<string>();
  const writing = new Turns();
  let [done, failed] = [0, 0];
  const begin = (run: Run): void => {
    const id = idOf(run);
    tried.add(id);
    say(`${minutes(clock())}  begins  ${id}`);
    const work = runOne(taskOf(run, setting, results), options.child, abort.signal).then(async (result) => {
      if (result !== null) await writing.run(() => addResult(path, result));
      // not before it is written: whoever waits for all of them would miss it
      running.delete(id);
      if (result === null) return;
      results.set(id, result);
      if (result.found) done++;
      else failed++;
      say(`${minutes(clock())}  ${result.found ? 'done  ' : 'failed'}  ${id}, ${Math.round(result.wall)} s`);
      if (result.error !== undefined) say(result.error);
    });
    running.set(id, work);
  };
  try {
    for (;;) {
      const isFree = (run: Run) => !tried.has(idOf(run)) && obstacleOf(run, results, options.again) === null;
      while (running.size < jobs && clock() < startFor) {
        const next = runs.find(isFree);
        if (next === undefined) break;
        begin(next);
      }
      if (running.size === 0) break;
      await Promise.race(running.values());
    }
  } finally {
    clearTimeout(timer);
  }
  const left = runs.filter((run) => {
    const own = results.get(idOf(run));
    return own === undefined || isOfOtherRate(own, results);
  }).length;
  return { done, failed, left };
}

export function taskOf(run: Run, setting: Setting, results: Results): Task {
  const split = 'split' in run ? run.split : GIVEN;
  const before = foundOf<'before'>(results, { kind: 'before', split });
  const rate = run.kind === 'unlearn' && !isOurs(run.method) ? chosenRate(results, run.method) : null;
  return { run, setting, before: { ratios: before?.ratios ?? [], retain: before?.model.retain ?? 0 }, rate };
}

/** @returns null where it was ended and nothing is known */
async function runOne(task: Task, program: URL | undefined, signal: AbortSignal): Promise<Result | null> {
  const began = performance.now();
  const child = fork(program ?? new URL('./child.ts', import.meta.url), [JSON.stringify(task)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill);
  const told = await new Promise<Told | null>((resolve) => {
    let last: Told | null = null;
    child.on('message', (message) => {
      last = message as Told;
      // it ends when it is let go: what is sent by one that ends may be lost
      child.disconnect();
    });
    child.on('error', (error) => resolve({ error: error.message }));
    child.on('exit', (code, by) => {
      resolve(last ?? (signal.aborted ? null : { error: `It ended with ${by ?? `code ${code}`}.` }));
    });
  });
  signal.removeEventListener('abort', kill);
  if (told === null) return null;
  return { id: idOf(task.run), run: task.run, wall: (performance.now() - began) / 1000, ...told };
}

const minutes = (ms: number): string => `${(ms / 60_000).toFixed(1).padStart(5)} min`;
