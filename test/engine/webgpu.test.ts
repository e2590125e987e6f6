// device: webgpu — holds a GPU against the CPU
/** Whole models on a GPU, here and in a worker: the same text as on the CPU, and losses that follow the CPU's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDevice } from '../../src/device/open-device.ts';
import { open } from '../../src/index.ts';
import { openLocal } from '../../src/open-local.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import type { TrainProgress } from '../../src/train/options.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { FULL, LORA, run } from '../train/jobs.ts';
import { tinyFiles } from './tiny-model.ts';

const nano = await modelTarget('models/nano-base');
const PROMPT = 'Once upon a time';
const GREEDY = { maxTokens: 16, temperature: 0 } as const;
const worst = new Worst();
/** Of a step that a program which plays a GPU computes in a second. */
const SMALL = { batch: 2, maxTokens: 16, heldOut: 0 } as const;
// while it is open the kernels that were compiled for it stay, which take such a program longer than what they compute
const held = await openDevice('webgpu');

/** What the CPU writes. */
async function wanted(): Promise<readonly number[]> {
  const model = await openLocal(nano, { device: 'wasm' });
  const ids = idsOf(await model.generate(PROMPT, GREEDY).result());
  model.close();
  return ids;
}

const idsOf = ({ tokens }: { readonly tokens: readonly { readonly id: number }[] }): number[] =>
  tokens.map(({ id }) => id);

test('the GPU writes the same, in the caller’s thread and in a worker', async () => {
  const want = await wanted();
  const here = await openLocal(nano, { device: 'webgpu' });
  assert.is(here.device.kind, 'webgpu');
  assert.equal(idsOf(await here.generate(PROMPT, GREEDY).result()), want);
  here.close();
  const there = await open(nano, { device: 'webgpu' });
  assert.is(there.description['device'], 'webgpu');
  assert.is(there.lanes, 1);
  assert.equal(idsOf(await there.generate(PROMPT, GREEDY).result()), want);
  await there.close();
});

// in a page a program that plays a GPU would compute for minutes what the same program has computed in Node
const isPage = 'document' in globalThis;
for (const [what, options] of isPage
  ? []
  : ([
      ['all weights', FULL],
      ['an adapter', LORA],
    ] as const)) {
  test(`twenty steps of training ${what}: losses follow the CPU's to 1e-3`, async () => {
    const [cpu, gpu] = [await lossesOn('wasm', options), await lossesOn('webgpu', options)];
    assert.is(cpu.length, 20);
    const error = Math.max(...cpu.map((loss, i) => Math.abs(loss - gpu[i]!)));
    // what rounds otherwise is in the bound already
    assert.ok(worst.within(`loss of training ${what}`, error, 2.5e-4), `${error}`);
  });
}

test('a job goes on with the kind of device that it began on', async () => {
  const files = await tinyFiles();
  const { receipt, out } = await interrupted(files);
  assert.is(receipt, 'E_ABORTED');
  const error = await rejects('E_ARGUMENT', () => run(files, { ...LORA, ...SMALL, steps: 6, device: 'wasm' }, out));
  assert.match(error.message, 'was computed on webgpu');
  const done = await run(files, { ...LORA, ...SMALL, steps: 6 }, out);
  assert.is(done.receipt.device['device'], 'webgpu');
  assert.is(done.receipt.steps, 6);
});

test('the worst figures', () => {
  held.close();
  worst.print();
});

async function lossesOn(device: 'wasm' | 'webgpu', options: typeof FULL): Promise<number[]> {
  const losses: number[] = [];
  const { receipt } = await run(await tinyFiles(), {
    ...options,
    ...SMALL,
    steps: 20,
    device,
    saveEvery: 0,
    onProgress: ({ stage, done, loss }) => {
      if (stage === 'training' && done > 0) losses[done - 1] = loss!;
    },
  });
  assert.is(receipt.device['device'], device);
  return losses;
}

/** A training that ends behind its third step, with a state. */
async function interrupted(files: Record<string, Uint8Array>) {
  const out = memoryOutput('out');
  const abort = new AbortController();
  const onProgress = ({ stage, done }: TrainProgress) => void (stage === 'training' && done === 3 && abort.abort());
  const given = { ...LORA, ...SMALL, steps: 6, device: 'webgpu', signal: abort.signal, onProgress } as const;
  const receipt = await run(files, given, out).then(
    () => 'done',
    (error: { code: string }) => error.code,
  );
  return { receipt, out };
}

test.run();
