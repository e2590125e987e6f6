/** The way back of norms, activations and RoPE: against PyTorch's autograd, the device's own way forward, and for any number of lanes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, inner, sameBits, sharing, slopeError } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const oracle = await fixture('train-ops.json');
const all = await trainDevices();
const alike = await families();
const worst = new Worst();
const KINDS = ['silu', 'gelu-tanh'] as const;
const LAYOUTS = ['half', 'interleaved'] as const;

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);

  on('rmsNormBackward equals autograd, and adds', async () => {
    for (const o of oracle.rmsNorm) {
      const n = o.weight.length;
      const [x, weight, dY] = [
        put(device, [o.rows, o.width], o.x),
        put(device, [n], o.weight),
        put(device, [o.rows, o.width], o.dY),
      ];
      const [before, beforeWeight] = [randomF32(o.x.length, 1), randomF32(n, 2)];
      const [dX, dWeight, alone] = [
        put(device, x.shape, before),
        put(device, [n], beforeWeight),
        put(device, x.shape, before),
      ];
      device.rmsNormBackward(x, weight, dY, o.eps, dX, dWeight);
      device.rmsNormBackward(x, weight, dY, o.eps, alone, null);
      const plus = (g: number[], b: Float32Array) => g.map((v, i) => v + b[i]!);
      const error = worstError(await read(dX), plus(o.d_x, before));
      assert.ok(worst.within('rmsNormBackward, dX', error, 2e-6), `${error}`);
      const errorWeight = worstError(await read(dWeight), plus(o.d_weight, beforeWeight));
      assert.ok(worst.within('rmsNormBackward, dWeight', errorWeight, 2e-6), `${errorWeight}`);
      assert.equal(await read(alone), await read(dX), 'a frozen weight changes nothing else');
      disposeAll(x, weight, dY, dX, dWeight, alone);
    }
  });

  on('rmsNormBackward is the slope of rmsNorm', async () => {
    const [rows, n] = [3, 40];
    const [x0, w0, d0] = [randomF32(rows * n, 3), randomF32(n, 4), randomF32(rows * n, 5)];
    const [x, weight, dY] = [put(device, [rows, n], x0), put(device, [n], w0), put(device, [rows, n], d0)];
    const [out, dX, dWeight] = [
      device.tensor('f32', [rows, n]),
      device.tensor('f32', [rows, n]),
      device.tensor('f32', [n]),
    ];
    device.rmsNormBackward(x, weight, dY, 1e-5, dX, dWeight);
    const loss = (t: Tensor) => async (values: Float32Array) => {
      const before = await read(t);
      device.write(t, values);
      device.rmsNorm(x, weight, out, 1e-5);
      device.write(t, before);
      return inner(await read(out), d0);
    };
    const error = await slopeError(loss(x), x0, await read(dX));
    assert.ok(worst.within('slope of rmsNorm by x, step 1e-2', error, 1e-3), `${error}`);
    const errorWeight = await slopeError(loss(weight), w0, await read(dWeight));
    assert.ok(worst.within('slope of rmsNorm by its weight, step 1e-2', errorWeight, 1e-3), `${errorWeight}`);
    disposeAll(x, weight, dY, out, dX, dWeight);
  });

  on('gatedActivationBackward equals autograd, in memory of its own and in place', async () => {
    for (const kind of KINDS) {
      const o = oracle.gatedActivation[kind];
      const tensor = (data: number[]) => put(device, [o.rows, o.width], data);
      const [gate, up, dY] = [tensor(o.gate), tensor(o.up), tensor(o.dY)];
      const [dGate, dUp] = [tensor(o.up), tensor(o.gate)];
      device.gatedActivationBackward(kind, gate, up, dY, dGate, dUp);
      assert.equal([...(await read(gate))], [...Float32Array.from(o.gate)], 'gate stays');
      for (const [what, got, want] of [
        ['dGate', dGate, o.d_gate],
        ['dUp', dUp, o.d_up],
      ] as const) {
        const error = worstError(await read(got), want);
        assert.ok(worst.within(`gatedActivationBackward ${kind}, ${what}`, error, 1e-6), `${kind} ${what} ${error}`);
      }
      device.gatedActivationBackward(kind, gate, up, dY, gate, up);
      assert.equal(await read(gate), await read(dGate), 'dGate may be gate');
      assert.equal(await read(up), await read(dUp), 'dUp may be up');
      disposeAll(gate, up, dY, dGate, dUp);
    }
  });

  on('gatedActivationBackward is the slope of gatedActivation, and a number far out', async () => {
    const n = 64;
    const [g0, u0, d0] = [randomF32(n, 6, 3), randomF32(n, 7), randomF32(n, 8)];
    const [gate, up, dY, out, dGate, dUp] = [g0, u0, d0, d0, d0, d0].map((data) => put(device, [1, n], data)) as Six;
    for (const kind of KINDS) {
      device.write(gate, g0);
      device.gatedActivationBackward(kind, gate, up, dY, dGate, dUp);
      const gradient = await read(dGate);
      const error = await slopeError(
        async (values) => {
          device.write(gate, values);
          device.gatedActivation(kind, gate, up, out);
          return inner(await read(out), d0);
        },
        g0,
        gradient,
      );
      assert.ok(worst.within(`slope of ${kind} by its gate, step 1e-2`, error, 1e-3), `${kind} ${error}`);
      // ±1e5: the slope is 1 above and 0 below
      device.write(
        gate,
        Float32Array.from({ length: n }, (_, i) => (i % 2 ? 1e5 : -1e5)),
      );
      device.gatedActivationBackward(kind, gate, up, dY, dGate, dUp);
      const far = await read(dGate);
      assert.ok(
        far.every((v, i) => Math.abs(v - (i % 2 ? d0[i]! * u0[i]! : 0)) < 1e-6),
        `${kind}, far out`,
      );
    }
    disposeAll(gate, up, dY, out, dGate, dUp);
  });

  on('ropeBackward equals autograd, by positions and by one row', async () => {
    const { rows, heads, headDim, rotaryDims, table: numbers } = oracle.rope;
    const table = put(device, [rows, 2, rotaryDims / 2], numbers);
    const positions = putInts(device, [rows], [0, 1, 2, 3, 4]);
    for (const layout of LAYOUTS) {
      const o = oracle.rope[layout];
      const by = { heads, headDim, rotaryDims, layout };
      const dX = put(device, [rows, heads * headDim], o.dY);
      device.ropeBackward(dX, table, positions, by);
      const error = worstError(await read(dX), o.d_x);
      assert.ok(worst.within('ropeBackward', error, 1e-6), `${layout} ${error}`);
      // one row for all gives what that row of the table gives
      const fixed = put(device, [rows, heads * headDim], o.dY);
      device.ropeBackward(fixed, table, 2, by);
      const same = [await read(device.rows(fixed, 2, 1)), await read(device.rows(dX, 2, 1))];
      assert.equal(same[0], same[1]);
      // rotated there and back is the factor of the table squared
      const round = put(device, [rows, heads * headDim], o.x);
      device.rope(round, table, positions, by);
      device.ropeBackward(round, table, positions, by);
      const want = o.x.map((v: number, i: number) => (i % headDim < rotaryDims ? 1.21 * v : v));
      assert.ok(worst.within('rope and back', worstError(await read(round), want), 1e-6));
      disposeAll(dX, fixed, round);
    }
    disposeAll(table, positions);
  });

  on('what does not fit is refused', async () => {
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const [x, y, z, w, short, gone] = [f(4, 8), f(4, 8), f(4, 8), f(8), f(3, 8), f(4, 8)];
    const [table, positions] = [f(4, 2, 2), device.tensor('i32', [4])];
    gone.dispose();
    const by = { heads: 2, headDim: 4, rotaryDims: 4, layout: 'half' } as const;
    const shapes: [string, () => void][] = [
      ['dY of other rows', () => device.rmsNormBackward(x, w, short, 1e-5, z, null)],
      ['dX of other rows', () => device.rmsNormBackward(x, w, y, 1e-5, short, null)],
      ['groups that do not divide', () => device.rmsNormBackward(x, device.rows(f3, 0, 3), y, 1e-5, z, null)],
      ['dWeight of another length', () => device.rmsNormBackward(x, w, y, 1e-5, z, device.rows(f3, 0, 3))],
      ['a weight of i32', () => device.rmsNormBackward(x, positions, y, 1e-5, z, null)],
      ['an activation of other rows', () => device.gatedActivationBackward('silu', x, y, short, x, y)],
      ['a rotation of other heads', () => device.ropeBackward(x, table, positions, { ...by, heads: 3 })],
      ['a row that the table lacks', () => device.ropeBackward(x, table, 4, by)],
      ['positions of other rows', () => device.ropeBackward(x, table, device.rows(positions, 0, 3), by)],
    ];
    const f3 = f(3);
    for (const [what, run] of shapes) {
      const hint = (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !error.message.includes('shares');
      assert.throws(run, hint, what);
    }
    const shared: [string, () => void][] = [
      ['dX and x', () => device.rmsNormBackward(x, w, y, 1e-5, x, null)],
      ['dX and dY', () => device.rmsNormBackward(x, w, y, 1e-5, y, null)],
      ['dWeight and weight', () => device.rmsNormBackward(x, w, y, 1e-5, z, w)],
      ['dGate and up', () => device.gatedActivationBackward('silu', x, y, z, y, y)],
      ['dGate and dUp', () => device.gatedActivationBackward('silu', x, y, z, x, x)],
      ['dUp and dY', () => device.gatedActivationBackward('silu', x, y, z, x, z)],
      ['dGate and a part of gate', () => device.gatedActivationBackward('silu', parts[0]!, y, z, parts[1]!, y)],
    ];
    const long = f(5, 8);
    const parts = [device.rows(long, 0, 4), device.rows(long, 1, 4)];
    for (const [what, run] of shared) assert.throws(run, sharing, what);
    const disposed: (() => void)[] = [
      () => device.rmsNormBackward(gone, w, y, 1e-5, z, null),
      () => device.rmsNormBackward(x, w, y, 1e-5, gone, null),
      () => device.gatedActivationBackward('silu', x, y, gone, x, y),
      () => device.ropeBackward(gone, table, positions, by),
    ];
    for (const run of disposed) assert.throws(run, code('E_DISPOSED'));
    disposeAll(x, y, z, w, short, table, positions, f3, long);
  });
}

type Six = [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];

test('any number of lanes gives the same bits', async () => {
  const [rows, heads, headDim] = [333, 9, 64];
  const width = heads * headDim;
  await sameBits(alike, async (device) => {
    const f = (seed: number, ...shape: number[]) =>
      put(
        device,
        shape,
        randomF32(
          shape.reduce((a, b) => a * b),
          seed,
        ),
      );
    const [x, dY, dX, weight, dWeight] = [
      f(1, rows, width),
      f(2, rows, width),
      f(3, rows, width),
      f(4, width),
      f(5, width),
    ];
    const [head, dHead, table] = [f(6, headDim), f(7, headDim), f(8, 50, 2, headDim / 2)];
    const positions = putInts(
      device,
      [rows],
      Array.from({ length: rows }, (_, i) => i % 50),
    );
    device.rmsNormBackward(x, weight, dY, 1e-5, dX, dWeight);
    device.rmsNormBackward(x, head, dY, 1e-5, dX, dHead);
    device.ropeBackward(dX, table, positions, { heads, headDim, rotaryDims: headDim, layout: 'half' });
    device.gatedActivationBackward('silu', x, dY, dX, x, dY);
    const results = await Promise.all([x, dY, dX, dWeight, dHead].map((t) => floats(device, t)));
    disposeAll(x, dY, dX, weight, dWeight, head, dHead, table, positions);
    return results;
  });
});

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
