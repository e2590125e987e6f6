/** Memory of a training: what is held out is looked at forward alone, and what does not fit is refused with advice that works. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { measuringDevice } from '../../src/device/measuring-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { DecoderTrainable, type PlanTrainOptions, planTrain, train } from '../../src/train.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { BASE, run } from './jobs.ts';
import { bytesOf, LINES } from './texts.ts';

type Options = Omit<PlanTrainOptions, 'cache'>;

const { maxTokens: _, ...base } = BASE;
/** 400 lines; the longest has 38 tokens. */
const MANY: Options = { ...base, data: bytesOf(LINES.repeat(20)), batch: 64, epochs: 0.1 };
const MIB = 2 ** 20;

const totalOf = async (files: Record<string, Uint8Array>, options: Options): Promise<number> =>
  (await planTrain(files, options)).memory.total;

test('what is held out takes the memory of a look, and no more than there is of it', async () => {
  const files = await tinyFiles();
  const few: Options = { ...MANY, batch: 2 };
  const without = await totalOf(files, few);
  // as much as a step has: nothing more is needed
  const line = bytesOf(LINES.slice(0, LINES.indexOf('\n') + 1));
  assert.is(await totalOf(files, { ...few, heldOut: line }), without);
  // two thousand rows forward alone
  const held = await totalOf(files, { ...few, heldOut: 0.5 });
  const asStep = await totalOf(files, MANY);
  assert.ok(held > without && held < 0.9 * asStep, `${without} ${held} ${asStep}`);
  // and that is enough for it
  const { receipt } = await run(files, { ...few, heldOut: 0.5, memoryLimit: held, evaluateEvery: 1 });
  assert.ok(receipt.peakBytes <= held, `${receipt.peakBytes} of ${held}`);
  console.log(`  of ${held} planned bytes ${receipt.peakBytes} were taken`);
});

test('a plan for a number of steps knows that short examples are short', async () => {
  const files = await tinyFiles();
  const { epochs: __, ...steps } = { ...MANY, batch: 2, steps: 2 };
  // tokens of a line are at most its bytes, and some around it
  const [planned, most] = [await totalOf(files, steps), await totalOf(files, { ...steps, batch: 64 })];
  assert.ok(planned < most, `${planned} ${most}`);
});

/** The options that a hint tells to give. */
const advised = ({ hint }: EspalierError): Options =>
  Object.fromEntries(
    [...hint.matchAll(/`(\w+): (\w+)`/g)].map(([, name, value]) => [
      name!,
      value === 'true' ? true : /^\d+$/.test(value!) ? Number(value) : value!,
    ]),
  );

test('the advice of a refusal, followed, is a training that fits', async () => {
  const files = await tinyFiles();
  const cases: readonly (readonly [Options, RegExp])[] = [
    [{}, /^Give `rows: 1024`\.$/],
    [{ heldOut: 0.5 }, /^Give `rows: \d+`\.$/],
    [{ heldOut: 0.5, maxTokens: 64 }, /`rows: \d+`/],
    [{ full: true, maxTokens: 48 }, /`rows: \d+`/],
    [{ recompute: false }, /`recompute: true`/],
  ];
  for (const [change, says] of cases) {
    const options = { ...MANY, ...change };
    const total = await totalOf(files, options);
    const least = await totalOf(files, { ...options, rows: 16, maxTokens: 16, long: 'truncate' });
    const memoryLimit = Math.ceil((2 * total + least) / 3);
    const error = await rejects('E_OUT_OF_MEMORY', () => run(files, { ...options, memoryLimit }));
    assert.match(error.hint, says, `${JSON.stringify(change)}: ${error.hint}`);
    const { receipt } = await run(files, { ...options, memoryLimit, ...advised(error), saveEvery: 0 });
    assert.ok(receipt.peakBytes <= memoryLimit);
  }
});

test('advice keeps examples whole as long as it can', async () => {
  const data = bytesOf(`${'Tom had a dog. It ran to him. '.repeat(12)}\n`);
  const options = { data, format: 'lines', epochs: 1, batch: 1, lanes: 1 } as const;
  const longest = (await planTrain('espalier:tiny', options)).data.longest!;
  assert.ok(longest > 64 && longest < 128, `${longest}`);
  for (const [change, says] of [
    [{ batch: 2, maxTokens: 256 }, 'Give `rows: 128` and `maxTokens: 128`.'],
    [{ long: 'skip' }, 'Give `rows: 64` and `long: truncate`: longer examples are cut then.'],
    [{}, 'Give `rows: 64` and `long: truncate`: longer examples are cut then.'],
    [{ long: 'truncate' }, 'Give `rows: 64`: longer examples are cut then.'],
  ] as const) {
    const own = { ...options, ...change };
    const memoryLimit = (await planTrain('espalier:tiny', own)).memory.total - 1;
    const into = (more: Options) => ({ ...own, ...more, memoryLimit, saveEvery: 0, out: memoryOutput('out') });
    const error = await rejects('E_OUT_OF_MEMORY', () => train('espalier:tiny', into({})));
    assert.is(error.hint, says);
    const { peakBytes } = await train('espalier:tiny', into(advised(error)));
    assert.ok(peakBytes <= memoryLimit);
  }
});

test('where no rows are few enough, other advice is given', async () => {
  const files = await tinyFiles();
  const full = await rejects('E_OUT_OF_MEMORY', () => run(files, { ...MANY, full: true, memoryLimit: MIB }));
  assert.match(full.hint, /^Use LoRA/);
  const lora = await rejects('E_OUT_OF_MEMORY', () => run(files, { ...MANY, lora: 64, memoryLimit: MIB }));
  assert.match(lora.hint, /^Use a lower rank/);
});

test('a look holds no more than layers need in turn', async () => {
  const checkpoint = await openCheckpoint(await tinyFiles());
  const { device, measured } = measuringDevice();
  const trainable = await DecoderTrainable.load(device, checkpoint);
  const rows = 512;
  const positions = Int32Array.from({ length: rows }, (_, i) => i % 32);
  const batch = {
    ids: new Int32Array(rows),
    positions,
    starts: Int32Array.from(positions, (position, i) => i - position),
    targets: new Int32Array(rows),
    weights: new Float32Array(rows).fill(1),
  };
  trainable.train(() => true);
  await trainable.evaluate(batch, {});
  const look = measured().scratchBytes;
  await trainable.step(batch, {});
  assert.ok(look < 0.8 * measured().scratchBytes, `${look} of ${measured().scratchBytes}`);
  await checkpoint.close();
});

test.run();
