/**
 * The rules for one test file, the same in every host. None is trusted to end by itself: no tests, a forgotten `.run()`, a hang, a
 * leaked handle or a crash are failures, each counted as one.
 */
import { stripVTControlCharacters } from 'node:util';
import type { Host } from './host.ts';

export interface Limits {
  /** Seconds that a file may take until its summary. */
  readonly timeout: number;
  /** Seconds that it may live after it, whenever it came. */
  readonly leak: number;
}

export interface Result {
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  output: string;
  /** Why the file fails apart from its failing tests. */
  fault: string | null;
}

/** Ends a file that is running: Ctrl-C reaches neither a process group of its own nor a page. */
export const running = new Set<(why: string) => void>();

const NO_TEST = 'it ran no test (is .run() missing?)';

/** The last Total/Passed/Skipped that uvu printed, or null. In a browser each is a message of its own. */
function summary(output: string): { total: number; passed: number; skipped: number } | null {
  const plain = stripVTControlCharacters(output);
  const found = [...plain.matchAll(/^ {2}Total: +(\d+)\n+ {2}Passed: +(\d+)\n+ {2}Skipped: +(\d+)\n/gm)].pop();
  return found ? { total: Number(found[1]), passed: Number(found[2]), skipped: Number(found[3]) } : null;
}

export function runFile(host: Host, file: string, name: string, { timeout, leak }: Limits): Promise<Result> {
  return new Promise((done) => {
    const start = performance.now();
    let output = '';
    let fault: string | null = null;
    let leaking: NodeJS.Timeout | undefined;
    let ended = false;
    const collect = (text: string): void => {
      output += text;
      if (leaking || !summary(output)) return;
      clearTimeout(limit); // its tests have ended in time
      leaking = setTimeout(() => kill(`a handle keeps it alive ${leak} s after its summary`), leak * 1000);
    };
    const end = (exit: string | null): void => {
      if (ended) return;
      ended = true;
      running.delete(kill);
      clearTimeout(limit);
      clearTimeout(leaking);
      const counts = summary(output);
      const failed = counts ? counts.total - counts.passed : 0;
      if (!counts) fault ??= exit ? `${exit} before its summary` : NO_TEST;
      else if (counts.total + counts.skipped === 0) fault ??= NO_TEST;
      else if (exit && failed === 0) fault ??= exit;
      done({
        file: name,
        passed: counts?.passed ?? 0,
        failed: failed + (fault ? 1 : 0),
        skipped: counts?.skipped ?? 0,
        seconds: (performance.now() - start) / 1000,
        output,
        fault,
      });
    };
    const kill = (why: string): void => {
      fault ??= why;
      started.kill();
      setTimeout(() => end(why), 2000).unref(); // in case something beyond reach still holds its pipes
    };
    running.add(kill);
    const limit = setTimeout(() => kill(`still running after ${timeout} s`), timeout * 1000);
    const started = host.start(file, { output: collect, end });
  });
}

/** Of a file that is not run at all. */
export function failure(file: string, fault: string): Result {
  return { file, passed: 0, failed: 1, skipped: 0, seconds: 0, output: '', fault };
}

export function report(result: Result): void {
  const skips = result.skipped ? `, ${result.skipped} skipped` : '';
  const state = result.failed ? 'FAIL' : 'ok  ';
  console.log(`${state} ${result.file}  ${result.passed} passed${skips}  ${result.seconds.toFixed(1)} s`);
  if (!result.failed) {
    // what a passing file has to tell: tests left out, and the worst figures
    for (const line of result.output.split('\n')) {
      const told = /(?:^|[•✘]) {2,}((?:skipped|worst|int8)\b.*)/.exec(line)?.[1];
      if (told) console.log(`       ${told}`);
    }
    return;
  }
  if (result.fault) console.log(`     ${result.fault}`);
  if (result.output) console.log(stripVTControlCharacters(result.output).replaceAll(/^/gm, '     | '));
}
