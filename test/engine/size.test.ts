// hosts: node — bundles with esbuild
/** What a page downloads: the library bundled and gzipped, and each build of the kernels. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { gpuApart } from '../../scripts/gpu-apart.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
/**
 * 10,000 more than the 120,000 of before: every call checks every option, in the page before a worker starts and in the worker again; and
 * a configuration is read key by key, and files that are no model say what they are. 22,000 more: chat templates are computed by an
 * interpreter of our own, with Python's values, formats and methods, a budget, and the origin of each character. 4,000 for the tokenizer: the expressions
 * that it cuts texts with run in a matcher of its own, which cannot hang. 2,000: a worker that does not hear an abort is watched and ended. 3,000 for
 * the options of growing, which the page checks before a worker starts. 2,000 for chat templates by name, control tokens that only templates
 * may write, and addresses that are checked as options; growing keeps these templates, and says which recipes no layer can be grown with.
 * 2,500 for what every device checks before it computes, aliasing among it, and for what one in debug mode looks at. 1,500 for the caller's
 * side of showing (`ShotPool`, `Chain`, `Chains`, `Show`, `evaluate`), without its checks. 2,500 for RoPE by layer, norms behind blocks, GELU, and
 * two families that have them. 6,000 for LoRA adapters: what PEFT's configuration means, a matcher for its patterns that cannot hang, and what fits
 * which base. 5,500 for texts that are generated and scored together, and their options. 1,500 for the options of training. 1,000 for scratch
 * that grows where it stands, and more that is said. 1,000 for what pruning needs of a device and a layer that infer: rows by coefficients, and
 * terms of experts. 4,000 for adapters whose experts act by position: their two files, checked, and a decoder that reads the model first.
 * 2,000 for weights that are rounded while they are read, texts that share their beginning, and options of relearning. 2,000 for more kinds of gates,
 * HydraLoRA's files, which are told apart, and the options of pruning. 3,000 for the option `device`, what is asked of a GPU,
 * whose own code is loaded only then, and passes that begin before the last one's tokens are read. The doctor is a face of its own. 500 for
 * decoding on a GPU in few commands: where it is asked for; what computes it is loaded only then. 2,500 for
 * lanes that cut their ranges themselves, attention of several texts as one command, and weights that are packed by all lanes. 500 for texts that
 * share passes on a GPU where they are read. 1,000 for keys and values of recent prompts, in the worker.
 * 500 for `open(…).show(…)`.
 */
const JAVASCRIPT = 204_500;
/**
 * With the grow worker in the engine's place, which has the same parts; and what each method cannot do, and a job takes, is said. It merges
 * adapters, too, and knows those that it cannot. 500: what other jobs have left in a folder is told apart, and cleared. 1,500
 * for devices, and 500 for decoding on them in few commands. 2,500 for lanes, as above, and 2,000 for Gram matrices and slices from a GPU, whose own code
 * is loaded only then.
 * And 500, as above, for examples in one call.
 */
const GROWING = 199_000;
const WASM = 200_000;
const zipped = (bytes: Uint8Array) => gzipSync(bytes, { level: 9 }).byteLength;
const shown = (bytes: number) => (bytes / 1000).toFixed(1);

/** One file as a page would load it, all that it imports included; what it imports only when a GPU is asked for is a file of its own. */
async function bundled(entry: string): Promise<Uint8Array> {
  const { outputFiles, warnings } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    external: ['node:*'],
    plugins: [gpuApart],
    write: false,
    logLevel: 'silent',
  });
  assert.equal(warnings, []);
  return outputFiles[0]!.contents;
}

test('the JavaScript of page and workers is small', async () => {
  const sizes: Record<string, number> = {};
  for (const entry of ['src/index.ts', 'workers/engine.ts', 'workers/lane.ts'])
    sizes[entry] = zipped(await bundled(entry));
  const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  const parts = Object.entries(sizes).map(([entry, size]) => `${entry} ${shown(size)}`);
  console.log(`  worst JavaScript, gzipped: ${shown(total)} kB of ${shown(JAVASCRIPT)} (${parts.join(', ')})`);
  assert.ok(Object.values(sizes).every((size) => size > 500));
  assert.ok(total < JAVASCRIPT, `${total} bytes`);
});

test('so is that of a page that grows a model', async () => {
  const sizes = await Promise.all(
    ['src/index.ts', 'workers/grow.ts', 'workers/lane.ts'].map(async (entry) => zipped(await bundled(entry))),
  );
  const total = sizes.reduce((sum, size) => sum + size, 0);
  console.log(
    `  worst JavaScript to grow, gzipped: ${shown(total)} kB of ${shown(GROWING)} (worker ${shown(sizes[1]!)})`,
  );
  assert.ok(total < GROWING, `${total} bytes`);
});

test('the page itself loads no model code', async () => {
  const text = new TextDecoder().decode(await bundled('src/index.ts'));
  for (const [what, mark] of [
    ['templates', 'raise_exception'],
    ['tokenizers', 'ByteLevel'],
    ['kernels', 'kernels.plain'],
    ['growing', 'espalier-receipt.json'],
    ['showing', 'Only distributions over labels are averaged'],
    ['training', 'espalier-training-state'],
  ] as const)
    assert.not.match(text, mark, what);
  assert.match(text, 'E_WORKER_LOST');
});

for (const [what, mark, worker] of [
  ['growing', 'espalier-receipt.json', 'workers/grow.ts'],
  ['showing', 'Only distributions over labels are averaged', 'workers/show.ts'],
  ['training', 'espalier-training-state', 'workers/train.ts'],
] as const) {
  test(`${what} is in a worker of its own`, async () => {
    for (const entry of ['engine', 'grow', 'show', 'train', 'lane'].map((name) => `workers/${name}.ts`))
      assert.is(new TextDecoder().decode(await bundled(entry)).includes(mark), entry === worker, entry);
  });
}

test('what only a GPU needs is loaded with it', async () => {
  for (const entry of ['engine', 'grow', 'show', 'train', 'prune', 'lane'].map((name) => `workers/${name}.ts`)) {
    const text = new TextDecoder().decode(await bundled(entry));
    for (const [what, mark] of [
      ['kernels', '@compute'],
      ['layers in few commands', '.attendLinear('],
      ['a choice of experts', '.expertShares('],
      ['Gram matrices by digits', '.takeDigit('],
    ] as const)
      assert.not.ok(text.includes(mark), `${entry}: ${what}`);
  }
});

test('each build of the kernels is small', () => {
  const names = readdirSync(`${root}build`).filter((name) => /^kernels\..*\.wasm$/.test(name));
  assert.is(names.length, 4);
  const sizes = names.map((name) => zipped(readFileSync(`${root}build/${name}`)));
  console.log(`  worst wasm, gzipped: ${shown(Math.max(...sizes))} kB of ${shown(WASM)}`);
  for (const [i, size] of sizes.entries()) assert.ok(size > 1000 && size < WASM, `${names[i]}: ${size} bytes`);
});

test.run();
