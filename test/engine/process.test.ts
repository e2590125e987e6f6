// hosts: node, deno — starts processes
// long — starts processes
/** What an engine means for the life of a process: it keeps one alive while a call waits, and not a moment longer. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));
const isDeno = 'Deno' in globalThis;

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a script as a process of its own, with the library and a tiny model at hand. */
function script(body: string, flags: readonly string[] = []): Promise<Run> {
  const [library, engine, tiny] = [
    new URL('../../src/index.ts', import.meta.url),
    new URL('../../src/engine/engine.ts', import.meta.url),
    new URL('./tiny-model.ts', import.meta.url),
  ].map(({ href }) => JSON.stringify(href));
  const text = `import { Engine, open, planGrow, grow } from ${library};
    import { linkOf } from ${engine};
    import { tinyFiles } from ${tiny};
    const files = await tinyFiles();
    ${body}`;
  const types = library!.endsWith('.ts"') ? ['--import', 'tsx'] : [];
  const args = isDeno ? ['eval', text] : [...types, ...flags, '--input-type=module', '-e', text];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_NO_WARNINGS: '1', NO_COLOR: '1', FORCE_COLOR: undefined },
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), 120_000);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(limit);
      resolve({ code, out, err });
    });
  });
}

const ends = async (body: string, want: string, flags?: readonly string[]): Promise<void> => {
  const { code, out, err } = await script(body, flags);
  assert.is(out, want, err);
  assert.is(code, 0, err);
  assert.is(err, '');
};

test('a script that forgets to close ends by itself', () =>
  ends(
    `const model = await open(files, { lanes: 1 });
    const { tokens } = await model.generate('abc', { maxTokens: 5, stopAtEos: false }).result();
    console.log(tokens.length);`,
    '5\n',
  ));

test('so does one that leaves a loop by its iterator, and never returns', () =>
  ends(
    `const model = await open(files, { lanes: 1 });
    const iterator = model.generate('abc', { maxTokens: 50, stopAtEos: false })[Symbol.asyncIterator]();
    console.log((await iterator.next()).done);`,
    'false\n',
  ));

test('a call that waits keeps the process alive, with nothing else to do', () =>
  ends(
    `const engine = await Engine.create({ lanes: 1 });
    const model = await engine.open(files);
    let texts = 0;
    for (let i = 0; i < 3; i++) {
      for await (const token of model.generate('abc', { maxTokens: 60, stopAtEos: false })) texts += token.text.length;
      await model.score('abcdefgh'.repeat(7));
    }
    console.log(texts > 10);
    await engine.close();
    console.log('closed');`,
    'true\nclosed\n',
  ));

test('growing keeps the process alive, with nothing else to do, and lets it go afterwards', () =>
  ends(
    `const options = { experts: 4, lanes: 2 };
    console.log((await planGrow(files, options)).files.length);
    const grown = await grow(files, options);
    console.log(grown.receipt.layers.length, Object.keys(grown.files).includes('model.safetensors'));
    console.log(await grow(files, { experts: 1 }).catch((error) => error.code));`,
    '1\n2 true\nE_ARGUMENT\n',
  ));

test('a worker that was killed leaves nothing that keeps the process', () =>
  ends(
    `const engine = await Engine.create({ lanes: 1 });
    const model = await engine.open(files);
    const run = model.generate('abc', { maxTokens: 60 }).result();
    void linkOf(engine).workers().worker.terminate();
    console.log(await run.catch((error) => error.code));
    const other = await open(files, { lanes: 1 });
    console.log((await other.encode('abc')).length);`,
    'E_WORKER_LOST\n3\n',
  ));

test('threads end with their engines', async () => {
  if (isDeno || process.platform !== 'linux') return; // Deno keeps threads in reserve
  await ends(
    `import { readdirSync } from 'node:fs';
    const threads = () => readdirSync('/proc/self/task').length;
    const round = async () => {
      const engines = await Promise.all([Engine.create({ lanes: 1 }), Engine.create({ lanes: 1 })]);
      const model = await engines[0].open(files);
      await model.score('abc');
      const most = threads();
      await Promise.all(engines.map((engine) => engine.close()));
      return most;
    };
    await round();
    const before = threads();
    const most = [];
    for (let i = 0; i < 4; i++) most.push(await round());
    for (let i = 0; i < 3000 && threads() > before; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    console.log(threads() <= before, Math.min(...most) >= before + 2);`,
    'true true\n',
  );
});

test('a loop that was forgotten and collected frees its cache in the worker', async () => {
  if (isDeno) return;
  await ends(
    `const engine = await Engine.create({ lanes: 1 });
    const model = await engine.open(files);
    const start = async () => {
      const iterator = model.generate('abc', { maxTokens: 50, stopAtEos: false })[Symbol.asyncIterator]();
      await iterator.next();
    };
    await start();
    const counts = [(await engine.stats()).generations];
    for (let i = 0; i < 3000 && counts.at(-1) > 0; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
      counts.push((await engine.stats()).generations);
    }
    console.log(counts[0], counts.at(-1));`,
    '1 0\n',
    ['--expose-gc'],
  );
});

test.run();
