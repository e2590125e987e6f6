/** Products of rows that belong to different experts, over stacks of matrices, against `linear` and plain JavaScript. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Precision, Tensor, WeightSource } from '../../src/device/device.ts';
import { EspalierError } from '../../src/errors.ts';
import { code, rejects } from '../errors.ts';
import { devices, onGpu, put, putInts, testNothingLeft, Worst } from './devices.ts';
import { product, randomF32, worstError } from './reference.ts';
import { stored } from './sources.ts';

const all = await devices();
const worst = new Worst();

const floats = async (device: Device, t: Tensor) => (await device.read(t)) as Float32Array;
const dispose = (...tensors: Tensor[]) => {
  for (const t of tensors) t.dispose();
};

for (const { name, device } of all) {
  const on = (title: string, run: () => Promise<void>) => test(`${title} [${name}]`, run);

  for (const [type, precisions] of [
    ['f32', ['exact']],
    ['bf16', ['int8']],
    ['q8_0', ['int8']],
    ['q8_1', ['int8']],
    ['q4_0', ['exact', 'int16', 'int8']],
    ['q4_1', ['int8']],
  ] as const) {
    on(`grouped products are those of each expert alone, ${type}`, async () => {
      const k = 96;
      for (const { counts, widths } of [
        { counts: [1, 0, 1], widths: [40, 24] }, // a token of a decoding step
        { counts: [7, 0, 61, 300, 1, 13], widths: [72, 19] },
        { counts: Array.from({ length: 41 }, (_, e) => e % 3), widths: [136, 96] }, // more than a command holds
      ]) {
        const rows = 3 + counts.reduce((a, b) => a + b, 0);
        // a row before the first expert and two behind the last belong to nobody
        const bounds = [1];
        for (const n of counts) bounds.push(bounds.at(-1)! + n);
        const offsets = putInts(device, [bounds.length], bounds);
        const values = randomF32(rows * k, 4);
        const x = put(device, [rows, k], values);
        const sources = widths.map((n, i) => [...counts.keys()].map((e) => stored(type, n, k, 100 * i + e + 1)));
        const stacks: Tensor[] = [];
        for (const list of sources) stacks.push(await device.loadMatrices(list));
        for (const precision of precisions as readonly Precision[]) {
          const outs = widths.map((n) => put(device, [rows, n], new Float32Array(rows * n).fill(7)));
          device.linearGrouped(x, offsets, stacks, outs, precision);
          for (const [i, n] of widths.entries()) {
            const got = await floats(device, outs[i]!);
            const want = new Float32Array(rows * n).fill(7);
            for (const [e, count] of counts.entries()) {
              if (count === 0) continue;
              const alone = device.tensor('f32', [count, n]);
              const one = await device.loadMatrix(sources[i]![e]!);
              device.linear(device.rows(x, bounds[e]!, count), [one], [alone], precision);
              want.set(await floats(device, alone), bounds[e]! * n);
              device.linear(device.rows(x, bounds[e]!, count), [device.matrix(stacks[i]!, e)], [alone], precision);
              assert.equal(await floats(device, alone), want.slice(bounds[e]! * n, bounds[e + 1]! * n), 'of the stack');
              dispose(one, alone);
            }
            const what = `${type}, ${precision}, ${counts.length} experts`;
            if (onGpu) {
              // which kernel computes a row is chosen by all rows there, and by an expert's here
              const apart = worstError(got, want);
              assert.ok(worst.within('linearGrouped of linear', apart, 5e-7), `${what}: ${apart}`);
              for (const [from, to] of [
                [0, n],
                [(rows - 2) * n, rows * n],
              ] as const) {
                assert.equal(got.slice(from, to), want.slice(from, to), `${what}: rows of nobody`);
              }
            } else assert.equal(got, want, what);
            if (type !== 'f32') continue;
            // and against plain JavaScript
            const [e, first] = [2, bounds[2]!];
            const w = randomF32(n * k, 100 * i + e + 1);
            const part = values.subarray(first * k, (first + counts[e]!) * k);
            const exact = product(counts[e]!, n, k, part, w, { transposeB: true });
            const error = worstError(got.subarray(first * n, (first + counts[e]!) * n), exact);
            assert.ok(worst.within('linearGrouped f32', error, 1e-6), `${error}`);
          }
          dispose(...outs);
        }
        dispose(offsets, x, ...stacks);
      }
    });
  }

  on('a stack is of one type and shape, and what fails leaves nothing', async () => {
    const { tensors } = device.stats();
    const good = stored('q4_0', 24, 32, 1);
    const broken: WeightSource = { ...good, read: () => Promise.reject(new EspalierError('E_FILE_READ', 'Gone.', '')) };
    for (const [sources, code] of [
      [[], 'E_SHAPE'],
      [[good, stored('q8_0', 24, 32, 1)], 'E_SHAPE'],
      [[good, stored('q4_0', 16, 32, 1)], 'E_SHAPE'],
      [[good, stored('q4_0', 24, 64, 1)], 'E_SHAPE'],
      [[good, broken, good], 'E_FILE_READ'],
    ] as const) {
      await rejects(code, () => device.loadMatrices(sources));
    }
    assert.is(device.stats().tensors, tensors);
  });

  on('what does not fit is refused', async () => {
    const of = (experts: number) => device.loadMatrices(new Array(experts).fill(stored('f32', 24, 32, 1)));
    const [six, five, one] = [await of(6), await of(5), await device.loadMatrix(stored('f32', 24, 32, 1))];
    const [y, out] = [device.tensor('f32', [8, 32]), device.tensor('f32', [8, 24])];
    const offsets = putInts(device, [7], [0, 1, 2, 3, 4, 5, 8]);
    const grouped = (weight: Tensor, to: Tensor) => () => device.linearGrouped(y, offsets, [weight], [to], 'exact');
    assert.throws(grouped(five, out), code('E_SHAPE'), 'too few experts');
    assert.throws(grouped(one, out), code('E_SHAPE'), 'a matrix alone');
    assert.throws(grouped(six, y), code('E_SHAPE'), 'another width');
    assert.throws(() => device.linear(y, [six], [out], 'exact'), code('E_SHAPE'), 'a stack for one');
    assert.throws(() => device.matrix(one, 0), code('E_SHAPE'), 'a matrix of one');
    for (const e of [-1, 6, 0.5]) assert.throws(() => device.matrix(six, e), code('E_SHAPE'), `matrix ${e}`);
    grouped(six, out)();
    const last = device.matrix(six, 5);
    last.dispose(); // a view frees nothing
    assert.not(six.disposed);
    const first = device.matrix(six, 0);
    six.dispose();
    assert.throws(grouped(six, out), code('E_DISPOSED'));
    assert.throws(() => device.linear(y, [first], [out], 'exact'), code('E_DISPOSED'), 'one of a disposed stack');
    dispose(five, one, y, out, offsets);
  });
}

testNothingLeft(all, worst);

test.run();
