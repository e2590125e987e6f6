// hosts: node — starts compilers
// device: wasm — compiles kernels of the CPU
/** Kernels are built again when they are not those of their sources, whatever the times of the files are. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('what decides whether kernels are built is what sources and kernels hold', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'espalier-build-'));
  const source = join(folder, 'assembly/index.ts');
  const kernel = join(folder, 'build/kernel.wasm');
  const run = (...args: string[]) =>
    promisify(execFile)(process.execPath, [join(folder, 'scripts/build.mjs'), ...args]).then(
      ({ stderr }) => stderr,
      ({ stderr, code }: { stderr: string; code: number }) => `exit code ${code}: ${stderr}`,
    );
  const value = async (): Promise<unknown> => {
    const { instance } = await WebAssembly.instantiate(readFileSync(kernel));
    return (instance.exports['value'] as () => number)();
  };
  const put = (number: number) => {
    writeFileSync(source, `export function value(): i32 { return ${number}; }\n`);
    // a copy that keeps its times, as of a tree that was checked out long ago
    utimesSync(source, 1, 1);
  };
  try {
    cpSync(join(root, 'scripts'), join(folder, 'scripts'), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    mkdirSync(join(folder, 'assembly'));
    writeFileSync(
      join(folder, 'asconfig.json'),
      JSON.stringify({ options: { runtime: 'stub' }, targets: { only: { outFile: 'build/kernel.wasm' } } }),
    );
    put(1);
    assert.match(await run('--check'), /^exit code 1: .*not those of assembly/);
    assert.match(await run(), /have to be compiled/);
    assert.is(await value(), 1);
    assert.is(await run('--check'), '');
    assert.is(await run(), '', 'nothing has changed');

    const old = readFileSync(kernel);
    put(2);
    assert.match(await run('--check'), /^exit code 1: /, 'an older time makes it no older source');
    assert.match(await run(), /have to be compiled/);
    assert.is(await value(), 2);

    writeFileSync(kernel, old);
    assert.match(await run('--check'), /^exit code 1: /, 'a kernel of other sources was copied here');
    rmSync(kernel);
    assert.match(await run('--check'), /^exit code 1: /, 'the kernel is gone');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
