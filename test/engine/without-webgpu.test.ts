// hosts: node — installs the built package, and starts a process
/** The package as it is built works where the package `webgpu` is not installed and there is no GPU. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));
const isBuilt = existsSync(`${root}dist/workers/webgpu.js`);

const SCRIPT = `import { open } from 'espalier';
import { doctor } from 'espalier/doctor';
import { openLocal } from 'espalier/local';
const codeOf = (call) => call().then(() => 'done', (error) => error.code + ' ' + error.hint);
const model = await open('espalier:tiny', { lanes: 1 });
const text = await model.generate('Once upon a time', { maxTokens: 4, temperature: 0 }).text();
await model.close();
const there = await codeOf(() => open('espalier:tiny', { device: 'webgpu' }));
const here = await codeOf(() => openLocal('espalier:tiny', { device: 'webgpu' }));
const { adapters, rates } = await doctor();
console.log(JSON.stringify({ text, there, here, adapters, gpu: rates.gpuProduct }));
`;

test('without webgpu: the CPU computes, a GPU is refused with what to install, and the doctor finds none', async () => {
  if (!isBuilt) return void console.log('  skipped: the built package (run `npm run build` first)');
  const app = mkdtempSync(join(tmpdir(), 'espalier-without-'));
  try {
    const modules = join(app, 'node_modules');
    mkdirSync(join(modules, 'espalier'), { recursive: true });
    cpSync(`${root}package.json`, join(modules, 'espalier', 'package.json'));
    cpSync(`${root}dist`, join(modules, 'espalier', 'dist'), { recursive: true });
    for (const name of ['comlink', '@noble']) symlinkSync(`${root}node_modules/${name}`, join(modules, name));
    writeFileSync(join(app, 'main.mjs'), SCRIPT);
    const { stdout } = await promisify(execFile)(process.execPath, ['main.mjs'], { cwd: app });
    const { text, there, here, adapters, gpu } = JSON.parse(stdout);
    assert.match(text, 'there');
    for (const told of [there, here]) assert.match(told, /^E_DEVICE_UNSUPPORTED .*package `webgpu`/);
    assert.equal([adapters, gpu], [[], null]);
  } finally {
    rmSync(app, { recursive: true, force: true });
  }
});

test.run();
