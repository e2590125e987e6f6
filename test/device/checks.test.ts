// device: wasm — computes nothing
/** The rules of operations look at the fields of tensors alone: here are some of no device, whose memory is several buffers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkAdd, checkRmsNorm, checkRope } from '../../src/device/checks/layers.ts';
import { checkLinear } from '../../src/device/checks/products.ts';
import { checkCopyRows, checkEmbed } from '../../src/device/checks/rows.ts';
import { checkApart, checkApartOrSame } from '../../src/device/checks/tensor.ts';
import type { Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';

const [one, other] = [{}, {}];

function floats(storage: object, offset: number, ...shape: number[]): Tensor {
  const byteLength = 4 * shape.reduce((a, b) => a * b, 1);
  return { type: 'f32', shape, layout: 'rows', storage, offset, byteLength, disposed: false, dispose: () => {} };
}

test('memory is shared where the storage is one and the bytes overlap', () => {
  const a = floats(one, 256, 4, 8); // bytes 256 .. 383
  const apart = [floats(other, 256, 4, 8), floats(one, 384, 4, 8), floats(one, 128, 4, 8), floats(one, 0, 64)];
  // what has no bytes overlaps with nothing, wherever it stands
  apart.push(floats(one, 256, 0, 8), floats(one, 300, 0, 8), floats(one, 384, 0, 8));
  for (const b of apart) {
    checkApart('test', a, b);
    checkApart('test', b, a);
    checkApart('test', a, null, b);
  }
  for (const b of [
    floats(one, 256, 4, 8),
    floats(one, 380, 1),
    floats(one, 252, 2),
    floats(one, 0, 1000),
    floats(one, 300, 1),
  ]) {
    assert.throws(() => checkApart('test', a, b), code('E_SHAPE'));
    assert.throws(() => checkApart('test', b, a), code('E_SHAPE'));
    assert.throws(() => checkApart('test', a, null, null, null, b), code('E_SHAPE'));
  }
});

test('the same tensor is the same bytes, all of them, of one type', () => {
  const a = floats(one, 256, 4, 8);
  checkApartOrSame('test', a, a);
  checkApartOrSame('test', a, floats(one, 256, 32)); // whatever shape they are seen in
  checkApartOrSame('test', a, floats(other, 256, 4, 8));
  checkApartOrSame('test', a, null);
  for (const b of [floats(one, 256, 3, 8), floats(one, 288, 3, 8), { ...a, type: 'i32' as const }]) {
    assert.throws(() => checkApartOrSame('test', a, b), code('E_SHAPE'));
  }
});

test('operations on tensors of any device', () => {
  const [x, y] = [floats(one, 0, 2, 8), floats(other, 0, 2, 8)];
  const w: Tensor = { ...floats({}, 0, 16, 8), layout: 'panels' };
  checkLinear(x, [w], [floats(other, 0, 2, 16)]);
  checkAdd(x, y);
  checkRmsNorm(x, floats(other, 64, 8), x);
  assert.throws(() => checkRmsNorm(x, floats(one, 0, 8), x), code('E_SHAPE'));
  assert.throws(() => checkAdd(x, { ...y, disposed: true }), code('E_DISPOSED'));
  assert.throws(() => checkLinear(x, [{ ...w, disposed: true }], [floats(other, 0, 2, 16)]), code('E_DISPOSED'));
  const cache = floats(one, 0, 10, 8); // x is its first two rows
  checkCopyRows(x, cache, 2);
  for (const row of [0, 1]) assert.throws(() => checkCopyRows(x, cache, row), code('E_SHAPE'));
  for (const row of [-1, 9, 0.5, Number.NaN]) assert.throws(() => checkCopyRows(y, cache, row), code('E_SHAPE'));
});

test('where there are no rows, none is looked up', () => {
  const layout = { heads: 1, headDim: 8, rotaryDims: 8, layout: 'half' } as const;
  const ints = (n: number): Tensor => ({ ...floats({}, 0, n), type: 'i32' });
  const [x, none] = [floats(one, 0, 2, 8), floats(other, 0, 0, 8)];
  checkRope(x, floats(other, 0, 1, 8), ints(2), layout);
  checkRope(none, none, ints(0), layout);
  assert.throws(() => checkRope(x, none, ints(2), layout), code('E_SHAPE'));
  const empty: Tensor = { ...none, layout: 'panels' };
  checkEmbed(ints(0), empty, floats(one, 0, 0, 8));
  assert.throws(() => checkEmbed(ints(2), empty, x), code('E_SHAPE'));
});

test.run();
