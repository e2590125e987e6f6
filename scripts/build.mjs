/**
 * Builds the four kernel modules (plain and shared memory, plain and relaxed SIMD) from assembly/, two at a time, and only when
 * a source is newer than a result. With `--dist` also the JavaScript, into dist/, with the kernels beside it. The workers are bundled:
 * a page's import map does not reach into its workers.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';

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
  const sources = await newest(
    'src',
    'workers',
    'examples/everywhere.ts',
    'tsconfig.json',
    'package.json',
    'build',
    'scripts/build.mjs',
  );
  if (
    (await oldest([
      'dist/src/index.js',
      'dist/src/cli/main.js',
      'dist/workers/engine.js',
      'dist/workers/grow.js',
      'dist/workers/show.js',
    ])) > sources
  )
    return;
  await rm(`${root}dist`, { recursive: true, force: true });
  await node('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json']);
  await cp(`${root}models`, `${root}dist/models`, { recursive: true });
  await mkdir(`${root}dist/build`, { recursive: true });
  for (const name of await readdir(`${root}build`)) {
    if (/^kernels\..*\.wasm$/.test(name)) await cp(`${root}build/${name}`, `${root}dist/build/${name}`);
  }
  await rewrite('dist/src/runtime/host-browser.js', /(workers\/\w+)\.ts'/g, "$1.js'");
  await buildWorkers();
  await hideNodeImports();
}

/** Modules of Node's are imported where they are there; bundlers for browsers warn of them, or give up, unless told to look away. */
async function hideNodeImports() {
  for (const name of await readdir(`${root}dist`, { recursive: true })) {
    if (!name.endsWith('.js')) continue;
    const text = await readFile(`${root}dist/${name}`, 'utf8');
    const hidden = text.replaceAll(/\bimport\((?=['"`]node:)/g, 'import(/* webpackIgnore: true */ /* @vite-ignore */ ');
    if (hidden !== text) await writeFile(`${root}dist/${name}`, hidden);
  }
}

/** tsc leaves addresses in strings as they are. */
async function rewrite(file, pattern, replacement) {
  const text = await readFile(`${root}${file}`, 'utf8');
  const changed = text.replaceAll(pattern, replacement);
  if (changed === text) throw new Error(`${file} has nothing that matches ${pattern}.`);
  await writeFile(`${root}${file}`, changed);
}

async function buildWorkers() {
  const names = (await readdir(`${root}workers`)).filter((name) => name.endsWith('.ts'));
  const adapt = {
    name: 'adapt',
    setup: ({ onLoad }) => {
      // the bundle stands two folders higher than the module
      onLoad({ filter: /wasm[\\/]location\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        return { contents: text.replaceAll('../../../build/', '../build/'), loader: 'ts' };
      });
      onLoad({ filter: /runtime[\\/]bundled-model\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        return { contents: text.replaceAll('../../models/', '../models/'), loader: 'ts' };
      });
      // workers start no workers: a bundler would follow one that names itself for ever
      onLoad({ filter: /runtime[\\/]host-(?:browser|node)\.ts$/ }, () => ({
        contents:
          "const none = () => { throw new Error('A worker starts no workers.'); };\n" +
          'export { none as browserHost, none as nodeHost };',
      }));
    },
  };
  await build({
    absWorkingDir: root,
    entryPoints: names.map((name) => `workers/${name}`),
    outdir: 'dist/workers',
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    external: ['node:*'],
    plugins: [adapt],
    minify: true,
    sourcemap: true,
    logLevel: 'warning',
  });
}

try {
  await buildKernels();
  if (process.argv.includes('--dist')) await buildDist();
} catch (error) {
  console.error(`${error.stdout ?? ''}${error.stderr ?? error.stack ?? error}`);
  process.exit(1);
}
