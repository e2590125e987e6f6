// hosts: node — runs examples/everywhere.ts in all the others
// long — runs one program in processes of several runtimes
/** One program, unchanged, in Node, Deno and Chromium: the same tokens, and entropies within 1e-4. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Worst } from '../device/devices.ts';
import { chromium, printed, serveFolders } from './pages.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const second = 'shared/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf';
const deno = `${root}test/runtimes/node_modules/.bin/deno`;
const worst = new Worst();
const isThere = existsSync(`${root}../${second}`);
if (!isThere) console.log('  skipped: ../shared is not here (SmolLM2 everywhere)');
const model = isThere ? [`../${second}`] : [];

interface Told {
  readonly model: string;
  readonly text: string;
  readonly tokens: string;
  readonly entropies: number[];
}

/** The four lines of each model. */
function parse(lines: readonly string[]): Told[] {
  const told: Told[] = [];
  const after = (word: string, line: string | undefined): string => {
    assert.ok(line?.startsWith(`${word} `), `${word}: ${line}`);
    return line!.slice(word.length + 1);
  };
  const all = [...lines];
  while (all.length > 0 && all[0] !== 'done') {
    const [model, text, tokens, entropies] = ['model', 'text', 'tokens', 'entropies'].map((w) => after(w, all.shift()));
    told.push({ model: model!, text: text!, tokens: tokens!, entropies: entropies!.split(' ').map(Number) });
  }
  assert.equal(all, ['done']);
  return told;
}

async function command(program: string, ...args: string[]): Promise<Told[]> {
  const { stdout } = await run(program, args, { cwd: root, timeout: 240_000, env: { ...process.env, NO_COLOR: '1' } });
  return parse(stdout.trimEnd().split('\n'));
}

const want = await command(process.execPath, '--import', 'tsx', 'examples/everywhere.ts', ...model);

function same(got: readonly Told[], host: string): void {
  assert.equal(
    got.map(({ text, tokens }) => [text, tokens]),
    want.map(({ text, tokens }) => [text, tokens]),
  );
  for (const [i, { entropies }] of want.entries()) {
    assert.is(got[i]!.entropies.length, 48);
    const error = Math.max(...entropies.map((entropy, at) => Math.abs(entropy - got[i]!.entropies[at]!)));
    assert.ok(worst.within(`entropy, ${host}`, error, 1e-4), `${host}: ${error}`);
  }
}

test('Node, from the sources', () => {
  assert.is(want.length, 1 + model.length);
  assert.match(want[0]!.text, 'there was a little girl named Lily');
  for (const { tokens } of want) assert.is(tokens.split(' ').length, 48);
});

if (!existsSync(`${root}dist/examples/everywhere.js`)) {
  console.log('  skipped: the built program (run `npm run build` first)');
} else {
  test('Node, built', async () => {
    same(await command(process.execPath, 'dist/examples/everywhere.js', ...model), 'Node, built');
  });

  test('Chromium, isolated and not', async () => {
    const driver = await chromium();
    if (!driver) return;
    const address = isThere ? `?model=/${second}` : '';
    for (const isolated of [true, false]) {
      const server = await serveFolders({ '': root, shared: `${root}../shared` }, isolated);
      const url = `${server.origin}/examples/everywhere.html${address}`;
      const lines = await printed(driver, url, (line) => line === 'done', 240);
      same(parse(lines.filter((line) => !line.startsWith('Failed to load resource'))), 'Chromium');
      await server.close();
    }
    await driver.close();
  });
}

test('Deno', async () => {
  if (!existsSync(deno)) return console.log('  skipped: Deno (npm ci --prefix test/runtimes)');
  same(await command(deno, 'run', '-A', '--no-check', 'examples/everywhere.ts', ...model), 'Deno');
});

test.after(() => worst.print());
test.run();
