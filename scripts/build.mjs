/**
 * Builds the four kernel modules (plain and shared memory, plain and relaxed SIMD) from assembly/, two at a time, and only when
 * sources or kernels are others than at the last build; with `--check` it only says whether they are. With `--dist` also the JavaScript,
 * into dist/, with the kernels beside it. The workers are bundled: a page's import map does not reach into its workers. So is
 * `dist/page/espalier.js`, which a page imports by its address alone, and `doctor.js` beside it. What is built is said on the error stream,
 * where it is in nobody's way.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build, transform } from 'esbuild';
import { GPU_ENTRY, gpuApart, gpuEntry } from './gpu-apart.mjs';
import { bundledPackages, licences } from './licences.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);
const node = (script, args) => run(process.execPath, [script, ...args], { cwd: root });

/** Runs a step, saying what it is and how long it took. */
async function step(what, work) {
  const started = performance.now();
  console.error(`build: ${what} …`);
  const result = await work();
  console.error(`build: ${what} took ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return result;
}

/** Of names and bytes, not of times: a checkout, a copy or a restored cache sets those as it likes, and kernels of other sources compute wrong numbers. */
async function digest(paths) {
  const hash = createHash('sha256');
  for (const path of paths) {
    const isFolder = (await stat(`${root}${path}`)).isDirectory();
    const names = isFolder ? (await readdir(`${root}${path}`, { recursive: true })).sort() : [''];
    for (const name of names) {
      const file = name === '' ? path : `${path}/${name}`;
      if (!(await stat(`${root}${file}`)).isFile()) continue;
      const bytes = await readFile(`${root}${file}`);
      hash.update(`${file}\0${bytes.length}\0`).update(bytes);
    }
  }
  return hash.digest('hex');
}

/** A result in build/NAME.sha256: digests of its sources and of what they became. */
function recordOf(name, sources, results) {
  const file = `${root}build/${name}.sha256`;
  const now = async () => `sources ${await digest(sources)}\nresults ${await digest(results)}\n`;
  return {
    isCurrent: async () => {
      const recorded = await readFile(file, 'utf8').catch(() => null);
      // what is gone has no digest
      return recorded !== null && recorded === (await now().catch(() => null));
    },
    forget: () => rm(file, { force: true }),
    write: async () => writeFile(file, await now()),
  };
}

async function kernelTargets() {
  const targets = Object.entries(JSON.parse(await readFile(`${root}asconfig.json`, 'utf8')).targets);
  const results = targets.flatMap(([, { outFile, textFile }]) => (textFile ? [outFile, textFile] : [outFile]));
  const sources = ['assembly', 'asconfig.json', 'node_modules/assemblyscript/package.json'];
  return { names: targets.map(([name]) => name), record: recordOf('kernels', sources, results) };
}

/** For who runs tests: says so instead of building, which two at once must not do. */
async function checkKernels() {
  const { record } = await kernelTargets();
  if (await record.isCurrent()) return;
  console.error('build: the kernels are not those of assembly/; run node scripts/build.mjs');
  process.exit(1);
}

async function buildKernels() {
  const { names, record } = await kernelTargets();
  if (await record.isCurrent()) return;
  await record.forget();
  await mkdir(`${root}build`, { recursive: true });
  console.error(`build: the kernels have to be compiled, ${names.length} of them, once: about a minute`);
  const queue = [...names];
  const worker = async () => {
    for (let name = queue.shift(); name; name = queue.shift()) {
      const at = `kernels ${name} (${names.indexOf(name) + 1} of ${names.length})`;
      await step(at, () => node('node_modules/assemblyscript/bin/asc.js', ['assembly/index.ts', '--target', name]));
    }
  };
  await Promise.all([worker(), worker()]);
  await record.write();
}

async function buildDist() {
  const sources = ['src', 'workers', 'models', 'examples/everywhere.ts', 'tsconfig.json', 'package.json', 'scripts'];
  const workers = ['webgpu.js', ...(await workerNames()).map((name) => name.replace(/ts$/, 'js'))].map(
    (name) => `dist/workers/${name}`,
  );
  const results = [
    'dist/src',
    'dist/build',
    ...workers,
    'dist/page/espalier.js',
    'dist/page/doctor.js',
    'dist/THIRD-PARTY-LICENCES.txt',
  ];
  const record = recordOf('dist', [...sources, 'build/kernels.sha256'], results);
  if (await record.isCurrent()) return;
  await record.forget();
  await rm(`${root}dist`, { recursive: true, force: true });
  await step('modules and their types', () =>
    node('node_modules/typescript/bin/tsc', [
      '-p',
      'tsconfig.json',
      '--sourceMap',
      'false',
      '--inlineSources',
      'false',
    ]),
  );
  await cp(`${root}models`, `${root}dist/models`, { recursive: true });
  await mkdir(`${root}dist/build`, { recursive: true });
  for (const name of await readdir(`${root}build`)) {
    if (/^kernels\..*\.wasm$/.test(name)) await cp(`${root}build/${name}`, `${root}dist/build/${name}`);
  }
  await referPlatform();
  await rewrite('dist/src/runtime/host/browser.js', /(workers\/\w+)\.ts'/g, "$1.js'");
  const metafiles = await step('workers and files of pages', () => Promise.all([bundleWorkers(), bundlePage()]));
  for (const folder of ['dist/workers', 'dist/page']) {
    await keepOwnSources(folder);
    await checkAddresses(folder);
  }
  await stripComments();
  await hideImports();
  const packages = [...bundledPackages(metafiles), 'assemblyscript'];
  await writeFile(`${root}dist/THIRD-PARTY-LICENCES.txt`, await licences(packages, `${root}node_modules/`));
  await record.write();
}

/** Types that a program without those of a browser or of Node's compiles against; see src/platform.d.ts. */
async function referPlatform() {
  await cp(`${root}src/platform.d.ts`, `${root}dist/src/platform.d.ts`);
  const { exports } = JSON.parse(await readFile(`${root}package.json`, 'utf8'));
  const faces = new Set(Object.values(exports).flatMap((face) => face.types ?? []));
  for (const face of faces) {
    const file = `${root}${face}`;
    const path = face
      .replace('./dist/src/', '')
      .replaceAll(/[^/]+\//g, '../')
      .replace(/[^/]+$/, '');
    await writeFile(file, `/// <reference path="${path || './'}platform.d.ts" />\n${await readFile(file, 'utf8')}`);
  }
}

/**
 * Modules of Node's are imported where they are there, and what computes on a GPU by its address (gpu-apart.mjs); bundlers for browsers warn of
 * both, or give up, unless told to look away.
 */
async function hideImports() {
  for (const name of await readdir(`${root}dist`, { recursive: true })) {
    if (!name.endsWith('.js')) continue;
    const text = await readFile(`${root}dist/${name}`, 'utf8');
    const hidden = text.replaceAll(
      /\bimport\((?=['"`]node:|new URL\(['"`]\.\/webgpu\.js)/g,
      'import(/* webpackIgnore: true */ /* @vite-ignore */ ',
    );
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

/** Addresses of files beside a module, in a bundle that stands elsewhere. */
function moved(onLoad, filter, from, to) {
  onLoad({ filter }, async ({ path }) => {
    const text = await readFile(path, 'utf8');
    if (!text.includes(from)) throw new Error(`${path} has no ${from}.`);
    return { contents: text.replaceAll(from, to), loader: 'ts' };
  });
}

/** Both kinds of bundles stand one folder below dist/, which the modules do not. */
const ADDRESSES = {
  name: 'addresses',
  setup: ({ onLoad }) => {
    moved(onLoad, /wasm[\\/]location\.ts$/, '../../../build/', '../build/');
    moved(onLoad, /files[\\/]bundled-model\.ts$/, '../../../models/', '../models/');
  },
};

/** A module that has moved would keep its address, and nobody would hear of it before a page asks for the file. */
async function checkAddresses(folder) {
  for (const name of await readdir(`${root}${folder}`)) {
    if (!name.endsWith('.js')) continue;
    const [beyond] =
      /new URL\(\s*["'](?:\.\.\/){2}[^)]*/.exec(await readFile(`${root}${folder}/${name}`, 'utf8')) ?? [];
    if (beyond !== undefined) throw new Error(`${folder}/${name} has ${beyond}, which is not in dist/.`);
  }
}

/** Maps name our own files and their lines, and hold no text: that of others is theirs to publish, ours is in every map otherwise. */
async function keepOwnSources(folder) {
  for (const name of await readdir(`${root}${folder}`)) {
    if (!name.endsWith('.map')) continue;
    const map = JSON.parse(await readFile(`${root}${folder}/${name}`, 'utf8'));
    map.sources = map.sources.map((source) => source.replace(/^.*(?=node_modules\/)/, ''));
    delete map.sourcesContent;
    await writeFile(`${root}${folder}/${name}`, JSON.stringify(map));
  }
}

/** The modules' comments stand in their types; without them, and without maps, the code is still what was written. */
async function stripComments() {
  for (const name of await readdir(`${root}dist/src`, { recursive: true })) {
    if (!name.endsWith('.js')) continue;
    const file = `${root}dist/src/${name}`;
    await writeFile(file, (await transform(await readFile(file, 'utf8'), { target: 'es2022', format: 'esm' })).code);
  }
}

const BUNDLE = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  target: 'es2022',
  external: ['node:*'],
  minify: true,
  sourcemap: true,
  metafile: true,
  logLevel: 'warning',
};

async function workerNames() {
  return (await readdir(`${root}workers`)).filter((name) => name.endsWith('.ts'));
}

async function bundleWorkers() {
  const names = await workerNames();
  const noWorkers = {
    name: 'no-workers',
    setup: ({ onLoad }) => {
      // workers start no workers: a bundler would follow one that names itself for ever
      onLoad({ filter: /host[\\/](?:browser|node)\.ts$/ }, () => ({
        contents:
          "const none = () => { throw new Error('A worker starts no workers.'); };\n" +
          'export { none as browserHost, none as nodeHost };',
      }));
    },
  };
  const entryPoints = Object.fromEntries(names.map((name) => [name.replace(/\.ts$/, ''), `workers/${name}`]));
  const { metafile } = await build({
    ...BUNDLE,
    entryPoints: { ...entryPoints, webgpu: GPU_ENTRY },
    outdir: 'dist/workers',
    plugins: [ADDRESSES, noWorkers, gpuApart, gpuEntry],
  });
  return metafile;
}

/** What `espalier` and `espalier/doctor` export, each with all that the caller's thread needs. */
async function bundlePage() {
  const workers = {
    name: 'workers',
    setup: ({ onLoad }) => {
      onLoad({ filter: /host[\\/]browser\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        const contents = text
          .replaceAll('../../../workers/', '../workers/')
          .replaceAll(/(workers\/\w+)\.ts'/g, "$1.js'");
        return { contents, loader: 'ts' };
      });
      // it is for pages alone
      onLoad({ filter: /host[\\/]node\.ts$/ }, () => ({
        contents:
          "export const nodeHost = () => { throw new Error('This file is for pages; import espalier itself.'); };",
      }));
    },
  };
  const { metafile } = await build({
    ...BUNDLE,
    entryPoints: { espalier: 'src/index.ts', doctor: 'src/doctor.ts' },
    outdir: 'dist/page',
    plugins: [ADDRESSES, workers],
  });
  return metafile;
}

try {
  if (process.argv.includes('--check')) await checkKernels();
  else await buildKernels();
  if (process.argv.includes('--dist')) await buildDist();
} catch (error) {
  console.error(`${error.stdout ?? ''}${error.stderr ?? error.stack ?? error}`);
  process.exit(1);
}
