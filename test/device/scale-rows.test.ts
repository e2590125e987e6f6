/** Rows by coefficients of their own, and the way back: the formulas in f64, slopes, lanes, what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';
import { put, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, sameBits, sharing, slopeError } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const all = await trainDevices();
const alike = await families();
const worst = new Worst();
const SIZES = [
  [1, 1, 1],
  [5, 3, 2],
  [7, 8, 3],
  [1100, 21, 5],
] as const;

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);

  on('rows are scaled, and their gradients added', async () => {
    for (const [t, width, experts] of SIZES) {
      const [x, c, dY] = [randomF32(t * width, 1), randomF32(t * experts, 2), randomF32(t * width, 3)];
      const [before, beforeC] = [randomF32(t * width, 4), randomF32(t * experts, 5)];
      const [from, factors, d] = [
        put(device, [t, width], x),
        put(device, [t, experts], c),
        put(device, [t, width], dY),
      ];
      for (let column = 0; column < experts; column++) {
        const own = (row: number) => c[row * experts + column]!;
        const out = put(device, [t, width], before); // is replaced
        device.scaleRows(from, factors, column, out);
        assert.equal(
          await read(out),
          x.map((v, i) => v * own(Math.floor(i / width))),
        );
        const [dX, dC] = [put(device, [t, width], before), put(device, [t, experts], beforeC)];
        device.scaleRowsBackward(from, factors, column, d, dX, dC);
        const wantX = Array.from(before, (v, i) => v + own(Math.floor(i / width)) * dY[i]!);
        const wantC = Array.from(beforeC);
        for (const [i, v] of x.entries()) wantC[Math.floor(i / width) * experts + column]! += v * dY[i]!;
        assert.ok(worst.within('dX', worstError(await read(dX), wantX), 1e-6));
        assert.ok(worst.within('dCoefficients', worstError(await read(dC), wantC), 1e-6));
        // one without the other
        const [lone, loneC] = [put(device, [t, width], before), put(device, [t, experts], beforeC)];
        device.scaleRowsBackward(from, factors, column, d, lone, null);
        device.scaleRowsBackward(from, factors, column, d, null, loneC);
        assert.equal(await read(lone), await read(dX));
        assert.equal(await read(loneC), await read(dC));
        disposeAll(out, dX, dC, lone, loneC);
      }
      disposeAll(from, factors, d);
    }
  });

  on('by 1 rows stay as they are, by 0 they are nothing', async () => {
    const [x, factors, out] = [
      put(device, [3, 5], randomF32(15, 1)),
      put(device, [3, 1], [1, 0, 1]),
      device.tensor('f32', [3, 5]),
    ];
    device.scaleRows(x, factors, 0, out);
    const want = randomF32(15, 1).map((v, i) => (i >= 5 && i < 10 ? 0 * v : v));
    assert.equal(await read(out), want);
    disposeAll(x, factors, out);
  });

  on('the gradients are the slopes', async () => {
    const [t, width, experts, column] = [6, 7, 3, 1];
    const [x, c, dY] = [randomF32(t * width, 1), randomF32(t * experts, 2), randomF32(t * width, 3)];
    const [from, factors, d] = [put(device, [t, width], x), put(device, [t, experts], c), put(device, [t, width], dY)];
    const [dX, dC, out] = [
      device.tensor('f32', [t, width]),
      device.tensor('f32', [t, experts]),
      put(device, [t, width], x),
    ];
    device.scaleRowsBackward(from, factors, column, d, dX, dC);
    const loss = (at: Tensor) => async (values: Float32Array) => {
      device.write(at, values);
      device.scaleRows(from, factors, column, out);
      return (await read(out)).reduce((sum, v, i) => sum + v * dY[i]!, 0);
    };
    const errorX = await slopeError(loss(from), x, await read(dX));
    device.write(from, x);
    const errorC = await slopeError(loss(factors), c, await read(dC));
    assert.ok(worst.within('slopes, step 1e-2', Math.max(errorX, errorC), 1e-4), `${errorX}, ${errorC}`);
    disposeAll(from, factors, d, dX, dC, out);
  });

  on('what does not fit is refused', async () => {
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const [x, c, d, dX, dC, gone] = [f(4, 6), f(4, 6), f(4, 6), f(4, 6), f(4, 6), f(4, 6)];
    const [wide, tall, ints] = [f(4, 7), f(5, 6), device.tensor('i32', [4, 6])];
    gone.dispose();
    type Arguments = Parameters<typeof device.scaleRowsBackward>;
    const shapes: [string, Arguments][] = [
      ['a column beyond', [x, c, 6, d, dX, dC]],
      ['a column before', [x, c, -1, d, dX, dC]],
      ['no column', [x, c, 1.5, d, dX, dC]],
      ['coefficients of other rows', [x, tall, 0, d, dX, dC]],
      ['dY of another width', [x, c, 0, wide, dX, dC]],
      ['dX of other rows', [x, c, 0, d, tall, dC]],
      ['dCoefficients of another width', [x, c, 0, d, dX, wide]],
      ['words', [x, c, 0, d, ints, dC]],
    ];
    for (const [what, args] of shapes) {
      const fits = (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !error.message.includes('shares');
      assert.throws(() => device.scaleRowsBackward(...args), fits, what);
    }
    const shared: [string, Arguments][] = [
      ['dX and x', [x, c, 0, d, x, dC]],
      ['dX and dY', [x, c, 0, d, d, dC]],
      ['dX and coefficients', [x, c, 0, d, c, dC]],
      ['dX and dCoefficients', [x, c, 0, d, dX, dX]],
      ['dCoefficients and x', [x, c, 0, d, dX, x]],
      ['dCoefficients and dY', [x, c, 0, d, null, d]],
      ['dCoefficients and coefficients', [x, c, 0, d, null, c]],
    ];
    for (const [what, args] of shared) assert.throws(() => device.scaleRowsBackward(...args), sharing, what);
    for (let i = 0; i < 6; i++) {
      if (i === 2) continue;
      const args = [x, c, 0, d, dX, dC].map((value, at) => (at === i ? gone : value)) as Arguments;
      assert.throws(() => device.scaleRowsBackward(...args), code('E_DISPOSED'), `${i}`);
    }
    disposeAll(x, c, d, dX, dC, wide, tall, ints);
  });
}

test('any number of lanes gives the same bits', async () => {
  const [t, width, experts] = [3000, 21, 5];
  await sameBits(alike, async (device) => {
    const f = (seed: number, n = width) => put(device, [t, n], randomF32(t * n, seed));
    const [x, c, dY, dX, dC] = [f(1), f(2, experts), f(3), f(4), f(5, experts)];
    device.scaleRowsBackward(x, c, 3, dY, dX, dC);
    device.scaleRows(x, c, 2, x);
    const results = await Promise.all([x, dX, dC].map((t) => floats(device, t)));
    disposeAll(x, c, dY, dX, dC);
    return results;
  });
});

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
