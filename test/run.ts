/**
 * Runs every test file in a host, in a process or page of its own. Ends with `N passed, N failed`; what counts as a failure is in
 * hosts/run-file.ts.
 *
 * usage: node --import tsx test/run.ts [--host HOST] [--device DEVICE] [--node PATH] [--browser PATH] [--timeout SECONDS] [--leak SECONDS] [--jobs N]
 *                                      [--all | --long] [--times N] [--root FOLDER] [--without NAME,…] [NAME …]
 *   --host: node (default), deno, chromium, chromium-plain (not cross-origin isolated) or firefox
 *   --device: wasm (default), or webgpu: tests of operations then run on the GPU, which may be a program; in Chromium it always is
 *   --node: run them under another node; 24: the one of test/runtimes
 *   --times: at the end, the N files that took longest, and how busy the jobs were
 *   --all: also what takes long or starts many processes; --long: nothing else
 *   NAME: only files whose path contains it, in the order of names, so that what takes longest can begin first; --without: only others
 */
import { spawnSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Length, leftOut } from './hosts/declaration.ts';
import { DEVICES, HOSTS, type Host, type HostName, type TestDevice } from './hosts/host.ts';
import { denoHost, nodeHost } from './hosts/process.ts';
import { failure, type Limits, type Result, report, runFile, running } from './hosts/run-file.ts';

interface Options extends Limits {
  host: HostName;
  device: TestDevice;
  node: string;
  browser: string | undefined;
  jobs: number;
  times: number;
  length: Length;
  root: string;
  filters: string[];
  without: string[];
}

function options(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      host: { type: 'string', default: 'node' },
      device: { type: 'string', default: process.env['ESPALIER_DEVICE'] ?? 'wasm' },
      node: { type: 'string', default: process.execPath },
      browser: { type: 'string' },
      timeout: { type: 'string', default: '900' },
      leak: { type: 'string', default: '60' },
      jobs: { type: 'string', default: '2' },
      times: { type: 'string', default: '0' },
      all: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
      without: { type: 'string', default: '' },
      root: { type: 'string', default: fileURLToPath(new URL('.', import.meta.url)) },
    },
  });
  const number = (name: 'timeout' | 'leak' | 'jobs'): number => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name} takes a number above 0.`);
    return value;
  };
  const times = Number(values.times);
  if (!(Number.isInteger(times) && times >= 0)) throw new Error('--times takes a whole number.');
  const host = HOSTS.find((name) => name === values.host);
  if (!host) throw new Error(`--host takes ${HOSTS.join(', ')}.`);
  const device = DEVICES.find((name) => name === values.device);
  if (!device) throw new Error(`--device takes ${DEVICES.join(', ')}.`);
  return {
    host,
    device,
    node: values.node,
    browser: values.browser,
    timeout: number('timeout'),
    leak: number('leak'),
    jobs: number('jobs'),
    times,
    // whoever names files wants them
    length: values.long ? 'long' : values.all || positionals.length > 0 ? 'all' : 'short',
    root: resolve(values.root),
    filters: positionals,
    without: values.without.split(',').filter((name) => name !== ''),
  };
}

async function hostOf({ host, device, node, browser }: Options): Promise<Host> {
  if (host === 'node') return nodeHost(node, device);
  if (host === 'deno') return denoHost(device);
  // only now: what it needs is not there in a checkout that tests in Node alone
  const { browserHost } = await import('./hosts/browser.ts');
  return browserHost(host, device, browser);
}

/** Test files that run in the host, names relative to the root; prints how many do not, and why. A wrong declaration is a failure. */
async function choose(
  { root, filters, without, host, device, length }: Options,
  failures: Result[],
): Promise<string[]> {
  const place = (name: string): number => filters.findIndex((filter) => name.includes(filter));
  const names = (await readdir(root, { recursive: true }))
    .map((name) => name.split(sep).join('/'))
    // what breaks on purpose is run by hosts/rules.ts
    .filter((name) => name.endsWith('.test.ts') && !/(^|\/)(node_modules|broken)\//.test(name))
    .filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)))
    .filter((name) => !without.some((filter) => name.includes(filter)))
    .sort()
    .sort((a, b) => place(a) - place(b));
  const here: string[] = [];
  const out: string[] = [];
  for (const name of names) {
    try {
      const reason = await leftOut(resolve(root, name), host, device, length);
      if (reason === null) here.push(name);
      else if (reason !== undefined) out.push(`${name} (${reason})`);
    } catch (error) {
      failures.push(failure(name, (error as Error).message));
    }
  }
  if (out.length) console.log(`${out.length} left out: ${out.join(', ')}`);
  return here;
}

/** Whether the kernels are those of their sources: others compute wrong numbers. */
function kernelsFit(): boolean {
  const script = fileURLToPath(new URL('../scripts/build.mjs', import.meta.url));
  return spawnSync(process.execPath, [script, '--check'], { stdio: 'inherit' }).status === 0;
}

/** Which files took longest, and for how much of the time all jobs had one. */
function tellTimes(results: readonly Result[], seconds: number, { times, jobs }: Options): void {
  const all = results.reduce((total, result) => total + result.seconds, 0);
  const busy = Math.round((100 * all) / (seconds * jobs));
  console.log(
    `\n${results.length} files took ${all.toFixed(0)} s, in ${seconds.toFixed(0)} s: ${busy} % of ${jobs} jobs`,
  );
  const slowest = results.toSorted((a, b) => b.seconds - a.seconds).slice(0, times);
  for (const { file, seconds } of slowest) console.log(`${seconds.toFixed(1).padStart(7)} s  ${file}`);
}

async function main(): Promise<number> {
  const chosen = options();
  if (!kernelsFit()) return 1;
  const host = await hostOf(chosen);
  console.log(host.title);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      for (const kill of running) kill(signal);
      await host.close();
      process.exit(1);
    });
  }
  const results: Result[] = [];
  const start = performance.now();
  try {
    const files = await choose(chosen, results);
    for (const result of results) report(result);
    if (files.length + results.length === 0) console.log('no test file matches');
    const lane = async (): Promise<void> => {
      for (let name = files.shift(); name; name = files.shift()) {
        const result = await runFile(host, resolve(chosen.root, name), name, chosen);
        results.push(result);
        report(result);
      }
    };
    await Promise.all(Array.from({ length: chosen.jobs }, lane));
  } finally {
    await host.close();
  }

  if (chosen.times > 0) tellTimes(results, (performance.now() - start) / 1000, chosen);
  const sum = (key: 'passed' | 'failed' | 'skipped'): number => results.reduce((total, r) => total + r[key], 0);
  const broken = results.filter((r) => r.failed).map((r) => r.file);
  if (broken.length) console.log(`\nfailing: ${broken.join(', ')}`);
  if (results.length > 0 && sum('passed') + sum('failed') === 0) console.log('no test ran');
  if (sum('skipped')) console.log(`${sum('skipped')} skipped`);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') > 0 || sum('passed') === 0 ? 1 : 0;
}

process.exitCode = await main();
