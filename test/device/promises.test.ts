/**
 * Ids, positions, places, orders and offsets are the caller's promise. Broken, a device in debug mode refuses them, and any other
 * neither throws nor touches anything beside the tensors of the operation; those of a user do not get that far.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { code, rejects } from '../errors.ts';
import { tinyDecoder } from '../model/tiny.ts';
import { devices, put, putInts } from './devices.ts';
import { randomF32 } from './reference.ts';
import { stored } from './sources.ts';

const debug = await WasmDevice.create({ debug: true });
const all = [...(await devices()), { name: 'debug', device: debug }];

/** Far beyond, where there is no memory, and just beside. */
const WRONG = [-1, -(2 ** 31), 2 ** 31 - 1, 2 ** 29];

for (const { name, device } of all) {
  const on = (title: string, run: () => Promise<void>) => test(`${title} [${name}]`, run);

  on('numbers that are none', async () => {
    const { tensors } = device.stats();
    const made: Tensor[] = [];
    const keep = <T extends Tensor>(t: T): T => {
      made.push(t);
      return t;
    };
    const f = (rows: number, width: number) => keep(put(device, [rows, width], randomF32(rows * width, rows + width)));
    const ints = (...list: number[]) => keep(putInts(device, [list.length], list));
    const w = keep(await device.loadMatrix(stored('f32', 6, 8, 1)));
    const stack = keep(await device.loadMatrices([1, 2, 3].map((seed) => stored('f32', 16, 8, seed))));
    const x = f(4, 8);
    const table = f(5, 8);
    const layout = { heads: 1, headDim: 8, rotaryDims: 8, layout: 'half' } as const;
    // what is written stands between rows that nobody may touch
    const room = keep(put(device, [12, 16], new Float32Array(12 * 16).fill(7)));
    const out = (width: number) => {
      const rows = device.rows(room, 4, 4);
      // what a device keeps with a tensor, too; a class may have the rest behind getters
      const { storage, disposed } = rows;
      return { ...rows, storage, disposed, shape: [4, width], byteLength: 16 * width, dispose: () => {} };
    };
    const runs: Record<string, (bad: number) => void> = {
      embed: (bad) => device.embed(ints(0, bad, 5, 1), w, out(8)),
      rope: (bad) => device.rope(out(8), table, ints(0, 4, bad, 1), layout),
      'dispatch and all that follows': (bad) => {
        const [order, offsets] = [ints(0, 0, 0, 0), ints(0, 0, 0, 0)];
        const gathered = f(4, 8);
        device.dispatch(keep(putInts(device, [4, 1], [0, bad, 2, 1])), order, offsets);
        device.gatherRows(x, order, gathered);
        device.linearGrouped(gathered, offsets, [stack], [out(16)], 'exact');
        device.combine(gathered, order, f(4, 1), out(8));
      },
      gatherRows: (bad) => device.gatherRows(x, ints(0, 1, bad, 2), out(8)),
      combine: (bad) => device.combine(x, ints(0, 1, bad, 2), f(4, 1), out(8)),
      'combine, a slot twice': () => device.combine(x, ints(0, 1, 1, 2), f(4, 1), out(8)),
      'linearGrouped, where it begins': (bad) =>
        device.linearGrouped(x, ints(bad, 1, 2, 4), [stack], [out(16)], 'exact'),
      'linearGrouped, in the middle': (bad) => device.linearGrouped(x, ints(0, bad, 2, 4), [stack], [out(16)], 'exact'),
      'linearGrouped, the end': (bad) => device.linearGrouped(x, ints(0, 1, 2, bad), [stack], [out(16)], 'exact'),
      'linearGrouped, descending': () => device.linearGrouped(x, ints(0, 3, 1, 4), [stack], [out(16)], 'exact'),
    };
    for (const [what, run] of Object.entries(runs)) {
      for (const bad of WRONG) {
        if (device === debug) assert.throws(() => run(bad), code('E_SHAPE'), `${what}, ${bad}`);
        else run(bad);
        const values = (await device.read(room)) as Float32Array;
        const around = [...values.subarray(0, 4 * 16), ...values.subarray(8 * 16)];
        assert.ok(
          around.every((v) => v === 7),
          `${what}, ${bad}: something beside it was written`,
        );
      }
    }
    if (device !== debug) {
      // a target beyond the row has no log-probability
      const [numbers, places] = [keep(device.tensor('f32', [4, 6])), keep(device.tensor('i32', [4, 2]))];
      device.logitStats(x, ints(0, -1, 8, 2 ** 31 - 1), 1, numbers, places);
      const got = (await device.read(numbers)) as Float32Array;
      assert.ok(got[4]! < 0);
      assert.equal([got[10], got[16], got[22]], [0, 0, 0]);
    }
    for (const t of made) t.dispose();
    assert.is(device.stats().tensors, tensors);
  });

  on('numbers that keep it pass', async () => {
    const w = await device.loadMatrix(stored('f32', 6, 8, 1));
    const [ids, out] = [putInts(device, [3], [5, 0, 5]), device.tensor('f32', [3, 8])];
    device.embed(ids, w, out);
    const want = randomF32(48, 1);
    assert.equal(await device.read(out), Float32Array.of(...want.slice(40), ...want.slice(0, 8), ...want.slice(40)));
    for (const t of [w, ids, out]) t.dispose();
  });
}

test('ids, positions and rows of a user never reach a device', async () => {
  const decoder = await tinyDecoder('llama-gqa', debug, 'exact');
  const { vocabSize, maxPositions } = decoder.config;
  const cache = decoder.cache();
  await decoder.forward([1, 2, 3], cache);
  // E_SHAPE would be the device's word
  for (const id of [-1, vocabSize, 1.5, Number.NaN, 2 ** 31, Number.POSITIVE_INFINITY]) {
    await rejects('E_ARGUMENT', () => decoder.forward([1, id], cache));
  }
  for (const id of [-1, vocabSize]) await rejects('E_ARGUMENT', () => decoder.forward(Int32Array.of(1, id), cache));
  for (const position of [-1, 0.5, Number.NaN]) {
    await rejects('E_ARGUMENT', () => decoder.forward([1], cache, { positions: [position] }));
  }
  for (const position of [maxPositions, 2 ** 31]) {
    await rejects('E_CONTEXT_LENGTH', () => decoder.forward([1], cache, { positions: [position] }));
  }
  for (const row of [-1, 3, 0.5]) {
    const mask = Int32Array.of(0, 0, 0, 0, 0, 0);
    await rejects('E_ARGUMENT', () => decoder.forward([1], cache, { rows: [row], mask }));
  }
  // a mask of any numbers hides some positions and does no harm
  for (const n of WRONG) {
    await decoder.forward([1], cache, { mask: Int32Array.of(n, n, n) });
    await decoder.forward([1], cache, { mask: Int32Array.of(n, n, 0, n, n, n) });
    await decoder.forward([1], cache, { mask: Int32Array.of(0, 2 ** 31 - 1, -(2 ** 31), 2 ** 31 - 1, 0, n) });
  }
  await decoder.forward([1, 2], cache);
  assert.is(cache.length, 17);
  cache.dispose();
  decoder.dispose();
  assert.is(debug.stats().tensors, 0);
});

test.after(() => {
  for (const { device } of all) device.close();
});
test.run();
