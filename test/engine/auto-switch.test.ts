/** An engine on the CPU whose first model is of a size for a GPU: it goes there, or stays where none comes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDevice } from '../../src/device/open-device.ts';
import { Holdings } from '../../src/engine/line/holdings.ts';
import { engineService } from '../../src/engine/model/service.ts';
import { tinyFiles } from './tiny-model.ts';

const context = { id: 1, owners: [], live: { signal: new AbortController().signal } };

/** What a host without a driver has none of. */
const want = await openDevice('webgpu').then(
  (gpu) => {
    gpu.close();
    return 'webgpu';
  },
  () => 'wasm',
);

test('the first model decides, once', async () => {
  const asked: number[] = [];
  const auto = async ({ parameters }: { readonly parameters: number }) => {
    asked.push(parameters);
    return 'webgpu' as const;
  };
  const { methods } = engineService({} as never, new Holdings(), { withIdentity: false, auto });
  const create = { device: 'auto', lanes: 1, relaxed: undefined, wasmLocation: undefined, memoryLimit: undefined };
  const before = await methods.create(context, create as never);
  assert.is(before.description['device'], 'wasm');
  for (const id of [1, 2]) {
    const facts = await methods.open({ ...context, id }, (await tinyFiles()) as never, {} as never);
    assert.is(facts.device.description['device'], want);
    const scored = await methods.score(context, id, 'ab', {} as never);
    assert.ok(scored.every(({ logprob }) => logprob === null || Number.isFinite(logprob)));
  }
  assert.is(asked.length, 1);
  assert.ok(asked[0]! > 100);
  assert.is((await methods.stats(context)).models, 2);
  for (const id of [1, 2]) await methods.close(context, id);
});

test.run();
