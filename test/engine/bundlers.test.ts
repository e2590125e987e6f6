// hosts: node — builds an app with Vite and drives Chromium
// long — bundles apps and drives browsers
/**
 * The package as pages use it: bundled by Vite, webpack and esbuild, as plain modules, as one file, and from another origin; isolated and not.
 * test/bundlers/run.ts tries more bundlers.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/open-local.ts';
import { builders } from '../bundlers/builders.ts';
import { firefoxDriver } from '../hosts/drivers.ts';
import { browser, chromium, printed, type StaticServer, serveFolders } from './pages.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const temporary = mkdtempSync(join(tmpdir(), 'espalier-pages-'));
const isBuilt = existsSync(`${root}dist/workers/engine.js`);
if (!isBuilt) console.log('  skipped: pages in Chromium (run `npm run build` first)');
const chrome = isBuilt ? await chromium() : null;
const firefox = isBuilt ? await browser(firefoxDriver) : null;

const model = await openLocal(`${root}models/nano-base`);
const { text: wanted } = await model.generate('Once upon a time', { maxTokens: 48 }).result();
model.close();

/** A page says its text in one line of JSON; anything else is an error. */
async function says(server: StaticServer, path: string, isolated: boolean, driver = chrome!): Promise<void> {
  // files that a folder may lack are asked for, and Chromium tells of each
  const lines = await printed(driver, `${server.origin}${path}`, (line) => !line.startsWith('Failed to load resource'));
  const told = JSON.parse(lines.at(-1)!);
  assert.is(told.text, wanted);
  assert.is(told.isolated, isolated);
  if (isolated) assert.ok(told.lanes >= 1);
  else assert.is(told.lanes, 1);
}

/** Puts the built package into a folder as if it were installed. */
function installed(app: string): void {
  const folder = join(app, 'node_modules', 'espalier');
  mkdirSync(folder, { recursive: true });
  cpSync(`${root}package.json`, join(folder, 'package.json'));
  cpSync(`${root}dist`, join(folder, 'dist'), { recursive: true });
  const manifest = join(app, 'package.json');
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true, "type": "module" }');
  // what the caller's side imports; workers have their own
  for (const name of ['comlink', '@noble']) symlinkSync(`${root}node_modules/${name}`, join(app, 'node_modules', name));
}

/** The app with the package installed, in a folder of its own, and built: the folder of the result. */
async function viteApp(): Promise<string> {
  const app = join(temporary, 'examples', 'vite');
  const example = `${root}examples/vite/`;
  for (const name of ['index.html', 'package.json', 'vite.config.js', 'src']) {
    cpSync(example + name, join(app, name), { recursive: true });
  }
  cpSync(`${root}examples/page`, join(temporary, 'examples', 'page'), { recursive: true });
  installed(app);
  const vite = createRequire(`${example}package.json`).resolve('vite');
  const warnings: string[] = [];
  // a busy machine makes it tell how long plugins took
  const warn = (message: string) => message.includes('PLUGIN_TIMINGS') || warnings.push(message);
  const logger = { info() {}, warn, warnOnce: warn, error: warn, clearScreen() {}, hasErrorLogged: () => false };
  const { build: buildApp } = await import(pathToFileURL(vite).href);
  await buildApp({
    root: app,
    configFile: join(app, 'vite.config.js'),
    logLevel: 'warn',
    customLogger: { ...logger, hasWarned: false },
  });
  assert.equal(warnings, []);
  return join(app, 'dist');
}

if (chrome) {
  const models = { models: `${root}models` };

  if (!existsSync(`${root}examples/vite/node_modules`)) {
    console.log('  skipped: the Vite app (npm ci --prefix examples/vite)');
  } else {
    test('a Vite app: workers and kernels are found, and no warning is given', async () => {
      const folder = await viteApp();
      const assets = readdirSync(join(folder, 'assets'));
      for (const name of [
        /^doctor-.*\.js$/,
        /^webgpu-.*\.js$/,
        /^engine-.*\.js$/,
        /^grow-.*\.js$/,
        /^lane-.*\.js$/,
        /^show-.*\.js$/,
        /^train-.*\.js$/,
      ])
        assert.is(assets.filter((a) => name.test(a)).length, 1);
      assert.is(assets.filter((asset) => asset.endsWith('.wasm')).length, 4);
      // where a model lies and what a page may share have nothing to do with each other
      for (const [isolated, name] of [
        [true, '/models/nano-base/'],
        [false, 'espalier:tiny'],
      ] as const) {
        const server = await serveFolders({ '': folder, ...models }, isolated);
        await says(server, `/?model=${encodeURIComponent(name)}&tokens=48`, isolated);
        await server.close();
      }
    });
  }

  if (!existsSync(`${root}test/bundlers/node_modules`)) {
    console.log('  skipped: webpack (npm ci --prefix test/bundlers)');
  } else {
    test('a webpack app: the same', async () => {
      const app = join(temporary, 'webpack');
      installed(app);
      symlinkSync(`${root}test/bundlers/node_modules/webpack`, join(app, 'node_modules', 'webpack'));
      // over our workers, which are small already, its minifier takes minutes; test/bundlers/run.ts has it
      const folder = await builders.webpack.build(app, false);
      assert.is(readdirSync(folder).filter((asset) => asset.endsWith('.wasm')).length, 4);
      for (const isolated of [true, false]) {
        const server = await serveFolders({ '': folder, ...models }, isolated);
        await says(server, '/', isolated);
        await server.close();
      }
    });
  }

  test('a page that imports one file from another origin, and nothing else', async () => {
    const cdn = await serveFolders({ '': root }, false);
    const page = `<!doctype html><title>page</title>
        <script type="module">
          import { open, EspalierError } from '${cdn.origin}/dist/page/espalier.js';
          const model = await open(new URL('/models/nano-base/', location.href));
          const text = await model.generate('Once upon a time', { maxTokens: 48 }).text();
          const tiny = await open('espalier:tiny');
          const same = (await tiny.encode('abc')).length === (await model.encode('abc')).length;
          await tiny.close();
          await model.close();
          const isOurs = await open(5).catch((error) => error instanceof EspalierError);
          console.log(JSON.stringify({ text: same && isOurs ? text : '', lanes: model.lanes, isolated: crossOriginIsolated }));
        </script>`;
    for (const isolated of [true, false]) {
      const server = await serveFolders({ '': temporary, ...models }, isolated, { '/page': page });
      await says(server, '/page', isolated);
      await server.close();
    }
    const server = await serveFolders({ '': temporary, ...models }, true, { '/page': page });
    if (firefox) await says(server, '/page', true, firefox);
    await server.close();
    await cdn.close();
  });

  test('a plain page: an import map for the page, and nothing else', async () => {
    for (const isolated of [true, false]) {
      const server = await serveFolders({ '': root }, isolated);
      const path = '/examples/page/?model=/models/nano-base/&tokens=48';
      await says(server, path, isolated);
      // modules one by one: the tests of browsers have them joined
      if (firefox && isolated) await says(server, path, true, firefox);
      await server.close();
    }
  });

  test('a bundler that finds no workers: they are copied, and said where they are', async () => {
    const site = join(temporary, 'site');
    for (const part of ['workers', 'build'])
      cpSync(`${root}dist/${part}`, join(site, 'espalier', part), { recursive: true });
    await build({
      stdin: {
        contents: `import { open } from './dist/src/index.js';
          const options = { workerLocation: '/espalier/workers/engine.js', laneLocation: '/espalier/workers/lane.js' };
          const model = await open(new URL('/models/nano-base/', location.href), options);
          const text = await model.generate('Once upon a time', { maxTokens: 48 }).text();
          console.log(JSON.stringify({ text, lanes: model.lanes, isolated: crossOriginIsolated }));`,
        resolveDir: root,
      },
      bundle: true,
      format: 'esm',
      platform: 'browser',
      external: ['node:*'],
      outfile: join(site, 'main.js'),
      logLevel: 'error',
    });
    for (const isolated of [true, false]) {
      const page = '<!doctype html><title>page</title><script type="module" src="/main.js"></script>';
      const server = await serveFolders({ '': site, ...models }, isolated, { '/page': page });
      await says(server, '/page', isolated);
      await server.close();
    }
  });

  test('a page that takes the package from another origin, as from a CDN', async () => {
    for (const isolated of [true, false]) {
      const cdn = await serveFolders({ '': root }, false);
      const page = `<!doctype html><title>page</title>
        <script type="importmap">{"imports": {"comlink": "${cdn.origin}/node_modules/comlink/dist/esm/comlink.mjs"}}</script>
        <script type="module">
          import { open } from '${cdn.origin}/dist/src/index.js';
          const model = await open(new URL('/models/nano-base/', location.href));
          const text = await model.generate('Once upon a time', { maxTokens: 48 }).text();
          console.log(JSON.stringify({ text, lanes: model.lanes, isolated: crossOriginIsolated }));
          await model.close();
        </script>`;
      const server = await serveFolders({ '': temporary, ...models }, isolated, { '/page': page });
      await says(server, '/page', isolated);
      await server.close();
      await cdn.close();
    }
  });

  test('the built package grows a model: in Node, and on a page that takes it from another origin', async () => {
    // by name, as installed, in this process
    const [name, parts] = ['espalier', 'espalier/grow'];
    const { grow } = await import(name);
    assert.type((await import(parts)).memoryOutput, 'function');
    const { receipt: want } = await grow(`${root}models/nano-base`, { layers: [3], verify: false });
    const cdn = await serveFolders({ '': root }, false);
    const page = `<!doctype html><title>page</title>
        <script type="importmap">{"imports": {"comlink": "${cdn.origin}/node_modules/comlink/dist/esm/comlink.mjs"}}</script>
        <script type="module">
          import { grow } from '${cdn.origin}/dist/src/index.js';
          const source = new URL('/models/nano-base/', location.href);
          const { receipt, files } = await grow(source, { layers: [3], verify: false, cache: null });
          const size = files['model.safetensors'].size;
          console.log(JSON.stringify({ grown: receipt.grown, size, isolated: crossOriginIsolated }));
        </script>`;
    for (const isolated of [true, false]) {
      const server = await serveFolders({ '': temporary, ...models }, isolated, { '/page': page });
      const lines = await printed(chrome, `${server.origin}/page`, (line) => line.startsWith('{'));
      const size = want.files[0]!.bytes;
      assert.equal(JSON.parse(lines.at(-1)!), JSON.parse(JSON.stringify({ grown: want.grown, size, isolated })));
      await server.close();
    }
    await cdn.close();
  });

  test('the built package trains an adapter: in Node, and on a page that takes it from another origin', async () => {
    const [name, parts] = ['espalier', 'espalier/train'];
    const { train } = await import(name);
    assert.type((await import(parts)).planTrain, 'function');
    const data = JSON.stringify({ prompt: 'Tom has a dog. What has Tom?', answer: ' A dog.' });
    const options = `{ format: 'jsonl', steps: 4, warmup: 0, learningRate: 2e-3, batch: 1, heldOut: new Blob([data]) }`;
    const given = new Function('data', `return ${options}`)(data);
    const { receipt: want } = await train(`${root}models/nano-base`, { ...given, data: new Blob([data]) });
    const cdn = await serveFolders({ '': root }, false);
    const page = `<!doctype html><title>page</title>
        <script type="importmap">{"imports": {"comlink": "${cdn.origin}/node_modules/comlink/dist/esm/comlink.mjs"}}</script>
        <script type="module">
          import { open, train } from '${cdn.origin}/dist/src/index.js';
          const source = new URL('/models/nano-base/', location.href);
          const data = ${JSON.stringify(data)};
          const { receipt, files } = await train(source, { ...${options}, data: new Blob([data]), cache: null });
          const model = await open(source, { adapters: [{ from: files }], cache: null });
          const { text } = await model.generate('Tom has a dog. What has Tom?', { maxTokens: 8 }).result();
          await model.close();
          console.log(JSON.stringify({ loss: receipt.loss, digest: receipt.data.digest, text, isolated: crossOriginIsolated }));
        </script>`;
    for (const isolated of [true, false]) {
      const server = await serveFolders({ '': temporary, ...models }, isolated, { '/page': page });
      const lines = await printed(chrome, `${server.origin}/page`, (line) => line.startsWith('{'));
      const got = JSON.parse(lines.at(-1)!);
      assert.is(got.isolated, isolated);
      assert.is(got.digest, want.data.digest);
      for (const which of ['first', 'last', 'heldOut'] as const) {
        assert.ok(
          Math.abs(got.loss[which] - want.loss[which]) < 1e-3,
          `${which}: ${got.loss[which]} ${want.loss[which]}`,
        );
      }
      assert.ok(got.loss.heldOut < got.loss.first / 2);
      assert.is(got.text, ' A dog.');
      await server.close();
    }
    await cdn.close();
  });

  test('the built package shows examples: in Node, and on a page that takes it from another origin', async () => {
    const program = `async (open, ShotPool, Show, target) => {
      const model = await open(target, { show: true, relaxed: false, precision: 'exact' });
      const words = { animal: ['cat', 'dog', 'bird'], number: ['one', 'two', 'three'] };
      const shots = Object.entries(words).flatMap(([label, list]) =>
        list.map((word) => ({ id: word, text: 'Input: ' + word + '\\nOutput: ' + label + '\\n', label, input: word })));
      const pool = await ShotPool.build(model, shots);
      const show = await Show.create(pool, { preset: 'label', labels: Object.keys(words), prompt: 'Output:' });
      const { label, receipt } = await show.ask('Input: dog\\nOutput:', { input: 'dog' });
      await model.close();
      return { label, shots: receipt.shots, chosen: receipt.chosen };
    }`;
    const name = 'espalier';
    const { open, ShotPool, Show } = await import(name);
    const want = await new Function(`return ${program}`)()(open, ShotPool, Show, `${root}models/nano-base`);
    const cdn = await serveFolders({ '': root }, false);
    const page = `<!doctype html><title>page</title>
        <script type="module">
          import { open, ShotPool, Show } from '${cdn.origin}/dist/page/espalier.js';
          const got = await (${program})(open, ShotPool, Show, new URL('/models/nano-base/', location.href));
          console.log(JSON.stringify({ ...got, isolated: crossOriginIsolated }));
        </script>`;
    for (const isolated of [true, false]) {
      const server = await serveFolders({ '': temporary, ...models }, isolated, { '/page': page });
      const lines = await printed(chrome, `${server.origin}/page`, (line) => line.startsWith('{'));
      assert.equal(JSON.parse(lines.at(-1)!), { ...want, isolated });
      await server.close();
    }
    await cdn.close();
  });

  test('a page whose workers are not where it says hears why', async () => {
    const server = await serveFolders({ '': root }, false, {
      '/page': `<!doctype html><title>page</title>
        <script type="importmap">{"imports": {"comlink": "/node_modules/comlink/dist/esm/comlink.mjs"}}</script>
        <script type="module">
          import { Engine } from '/dist/src/index.js';
          const codes = [];
          const tried = (options) => Engine.create(options).then(() => codes.push('made'), ({ code }) => codes.push(code));
          await tried({ workerLocation: '/nowhere/engine.js' });
          await tried({ wasmLocation: '/nowhere/' });
          await tried({ lanes: 2 });
          await tried({ workerLocation: '/dist/workers/engine.js', wasmLocation: '/dist/build' });
          console.log(JSON.stringify(codes));
        </script>`,
    });
    const lines = await printed(chrome, `${server.origin}/page`, (line) => line.startsWith('['));
    assert.equal(JSON.parse(lines.at(-1)!), ['E_WORKER_LOST', 'E_FILE_NOT_FOUND', 'E_NO_ISOLATION', 'made']);
    await server.close();
  });
} else test('pages in Chromium', () => {});

test.after(async () => {
  await chrome?.close();
  await firefox?.close();
  rmSync(temporary, { recursive: true });
});
test.run();
