/**
 * Runs every test file in a process of its own and trusts none of them to end by itself: no tests, a hang, a leaked handle, a
 * forgotten `.run()` or a crash are failures, each counted as one. Ends with `N passed, N failed`.
 *
 * usage: node --import tsx test/run.ts [--node PATH] [--timeout SECONDS] [--jobs N] [--root FOLDER] [NAME …]
 *   NAME: only files whose path contains it; --node: run them under another node
 */
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, stripVTControlCharacters } from 'node:util';

const PROJECT = fileURLToPath(new URL('..', import.meta.url));
const LEAK_SECONDS = 10; // how long a file may live after its summary

interface Options {
  node: string;
  timeout: number;
  jobs: number;
  root: string;
  filters: string[];
}

interface Result {
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  output: string;
  /** Why the file fails apart from its failing tests. */
  fault: string | null;
}

function options(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      node: { type: 'string', default: process.execPath },
      timeout: { type: 'string', default: '300' },
      jobs: { type: 'string', default: '2' },
      root: { type: 'string', default: fileURLToPath(new URL('.', import.meta.url)) },
    },
  });
  const number = (name: 'timeout' | 'jobs'): number => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name} takes a number above 0.`);
    return value;
  };
  return {
    node: values.node.includes('/') ? resolve(values.node) : values.node,
    timeout: number('timeout'),
    jobs: number('jobs'),
    root: resolve(values.root),
    filters: positionals,
  };
}

/** The last Total/Passed/Skipped that uvu printed, or null. */
function summary(output: string): { total: number; passed: number; skipped: number } | null {
  const plain = stripVTControlCharacters(output);
  const found = [...plain.matchAll(/^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)\n/gm)].pop();
  return found ? { total: Number(found[1]), passed: Number(found[2]), skipped: Number(found[3]) } : null;
}

/** Ends a file that is running; Ctrl-C does not reach a process group of its own. */
const running = new Set<(why: string) => void>();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const kill of running) kill(signal);
    process.exit(1);
  });
}

function runFile(file: string, { node, timeout, root }: Options): Promise<Result> {
  return new Promise((done) => {
    const start = performance.now();
    let output = '';
    let fault: string | null = null;
    let leak: NodeJS.Timeout | undefined;
    const child = spawn(node, ['--import', 'tsx', file], {
      cwd: PROJECT,
      detached: true, // a group of its own, so that whatever it started can be ended with it
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: '0', NODE_NO_WARNINGS: '1' },
    });
    const kill = (why: string): void => {
      fault ??= why;
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
      setTimeout(() => end(why), 2000).unref(); // in case something beyond reach still holds its pipes
    };
    running.add(kill);
    const limit = setTimeout(() => kill(`still running after ${timeout} s`), timeout * 1000);
    const collect = (text: string): void => {
      output += text;
      if (!leak && summary(output)) {
        leak = setTimeout(
          () => kill(`a handle keeps it alive ${LEAK_SECONDS} s after its summary`),
          LEAK_SECONDS * 1000,
        );
      }
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    let ended = false;
    const end = (exit: string | null): void => {
      if (ended) return;
      ended = true;
      running.delete(kill);
      clearTimeout(limit);
      clearTimeout(leak);
      const counts = summary(output);
      const failed = counts ? counts.total - counts.passed : 0;
      if (!counts) fault ??= exit ? `${exit} before its summary` : 'it ran no test (is .run() missing?)';
      else if (counts.total + counts.skipped === 0) fault ??= 'it ran no test (is .run() missing?)';
      else if (exit && failed === 0) fault ??= exit;
      done({
        file: relative(root, file),
        passed: counts?.passed ?? 0,
        failed: failed + (fault ? 1 : 0),
        skipped: counts?.skipped ?? 0,
        seconds: (performance.now() - start) / 1000,
        output,
        fault,
      });
    };
    child.on('error', (error) => end(`could not start: ${error.message}`));
    child.on('close', (code, signal) => end(code === 0 ? null : signal ? `ended by ${signal}` : `exit code ${code}`));
  });
}

function report(result: Result): void {
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
  console.log(result.output.replaceAll(/^/gm, '     | '));
}

async function main(): Promise<number> {
  const chosen = options();
  const files = (await readdir(chosen.root, { recursive: true }))
    .filter((name) => name.endsWith('.test.ts') && !/(^|[\\/])node_modules[\\/]/.test(name))
    .filter((name) => chosen.filters.length === 0 || chosen.filters.some((filter) => name.includes(filter)))
    .sort()
    .map((name) => resolve(chosen.root, name));
  const queue = [...files];
  const results: Result[] = [];
  const lane = async (): Promise<void> => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const result = await runFile(file, chosen);
      results.push(result);
      report(result);
    }
  };
  await Promise.all(Array.from({ length: chosen.jobs }, lane));

  const sum = (key: 'passed' | 'failed' | 'skipped'): number => results.reduce((total, r) => total + r[key], 0);
  const broken = results.filter((r) => r.failed).map((r) => r.file);
  if (broken.length) console.log(`\nfailing: ${broken.join(', ')}`);
  if (files.length === 0) console.log('no test file matches');
  else if (sum('passed') + sum('failed') === 0) console.log('no test ran');
  if (sum('skipped')) console.log(`${sum('skipped')} skipped`);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
}

process.exitCode = await main();
