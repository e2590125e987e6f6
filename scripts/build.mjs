/**
 * Builds the four kernel modules (plain and shared memory, plain and relaxed SIMD) from assembly/, two at a time, and only when
 * a source is newer than a result. With `--dist` also the JavaScript, into dist/, with the kernels beside it.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);
const node = (script, args) => run(process.execPath, [script, ...args], { cwd: root });

async function newest(...paths) {
  let time = 0;
  for (const path of paths) {
    const info = await stat(`${root}${path}`).catch(() => null);
    if (!info) return Number.POSITIVE_INFINITY;
    if (info.isDirectory()) {
      const names = await readdir(`${root}${path}`, { recursive: true });
      for (const name of names) time = Math.max(time, (await stat(`${root}${path}/${name}`)).mtimeMs);
    } else time = Math.max(time, info.mtimeMs);
  }
  return time;
}

async function oldest(paths) {
  let time = Number.POSITIVE_INFINITY;
  for (const path of paths) time = Math.min(time, (await stat(`${root}${path}`).catch(() => ({ mtimeMs: 0 }))).mtimeMs);
  return time;
}

async function buildKernels() {
  const config = JSON.parse(await readFile(`${root}asconfig.json`, 'utf8'));
  const targets = Object.entries(config.targets);
  const sources = await newest('assembly', 'asconfig.json', 'scripts/build.mjs');
  if ((await oldest(targets.map(([, t]) => t.outFile))) > sources) return;
  await mkdir(`${root}build`, { recursive: true });
  const queue = targets.map(([name]) => name);
  const worker = async () => {
    for (let name = queue.shift(); name; name = queue.shift()) {
      await node('node_modules/assemblyscript/bin/asc.js', ['assembly/index.ts', '--target', name]);
    }
  };
  await Promise.all([worker(), worker()]);
}

async function buildDist() {
  const sources = await newest('src', 'workers', 'tsconfig.json', 'package.json', 'build');
  if ((await oldest(['dist/src/index.js', 'dist/src/cli/main.js'])) > sources) return;
  await rm(`${root}dist`, { recursive: true, force: true });
  await node('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json']);
  await mkdir(`${root}dist/build`, { recursive: true });
  for (const name of await readdir(`${root}build`)) {
    if (/^kernels\..*\.wasm$/.test(name)) await cp(`${root}build/${name}`, `${root}dist/build/${name}`);
  }
}

try {
  await buildKernels();
  if (process.argv.includes('--dist')) await buildDist();
} catch (error) {
  console.error(`${error.stdout ?? ''}${error.stderr ?? error.stack ?? error}`);
  process.exit(1);
}
