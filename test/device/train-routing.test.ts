/** The way back of mixtures of experts, and the losses of routers: against PyTorch's autograd, the device's way forward, and for any lanes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RouteRule, Tensor } from '../../src/device/device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, inner, sameBits, sharing, slopeError } from './gradients.ts';
import { noise, randomF32, worstError } from './reference.ts';

const oracle = await fixture('train-ops.json');
const all = await trainDevices();
const alike = await families();
const worst = new Worst();

const OPEN = { groups: 1, topGroups: 1, groupScore: 'max' } as const;
const RULES: readonly RouteRule[] = oracle.route.rules.map((rule: RouteRule) => ({ ...OPEN, ...rule }));

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);
  const { tokens, experts, k } = oracle.route;
  const { width, order: slots } = oracle.combine;

  on('routeBackward equals autograd for every rule, and adds', async () => {
    const o = oracle.route;
    const [logits, dWeights] = [put(device, [tokens, experts], o.logits), put(device, [tokens, k], o.dWeights)];
    const places = putInts(device, [tokens, k], o.places);
    const before = randomF32(tokens * experts, 1);
    for (const [i, rule] of RULES.entries()) {
      const dLogits = put(device, [tokens, experts], before);
      device.routeBackward(logits, rule, places, dWeights, dLogits);
      const want = o.rules[i].dLogits.map((v: number, at: number) => v + before[at]!);
      const error = worstError(await read(dLogits), want);
      const what = `routeBackward ${rule.score}${rule.renormalise ? ', renormalised' : ''}`;
      assert.ok(worst.within(what, error, 1e-6), `${what} ${error}`);
      dLogits.dispose();
    }
    disposeAll(logits, dWeights, places);
  });

  on('routeBackward is the slope of route, in groups and with a bias for choosing', async () => {
    const [rows, e, choices] = [3, 8, 3];
    // logits so far apart that no step changes what is chosen
    const next = noise(3);
    const z = Float32Array.from({ length: rows * e }, (_, i) => ((i * 5) % e) * 0.4 + 0.1 * next());
    const d = randomF32(rows * choices, 4);
    const [logits, dWeights] = [put(device, [rows, e], z), put(device, [rows, choices], d)];
    const bias = put(device, [e], [0.5, 0, 0, 0, 0, 0, 0, 0.5]);
    const [places, weights] = [device.tensor('i32', [rows, choices]), device.tensor('f32', [rows, choices])];
    for (const rule of RULES) {
      const grouped: RouteRule = { ...rule, groups: 4, topGroups: 2, groupScore: 'top2' };
      for (const [by, b] of [
        [rule, null],
        [grouped, rule.score === 'sigmoid' ? bias : null],
      ] as const) {
        const dLogits = device.tensor('f32', [rows, e]);
        device.route(logits, b, by, places, weights);
        const chosen = await device.read(places);
        device.routeBackward(logits, by, places, dWeights, dLogits);
        const error = await slopeError(
          async (x) => {
            device.write(logits, x);
            device.route(logits, b, by, places, weights);
            device.write(logits, z);
            assert.equal(await device.read(places), chosen, 'the same are chosen');
            return inner(await read(weights), d);
          },
          z,
          await read(dLogits),
        );
        assert.ok(worst.within('slope of route, step 1e-2', error, 1e-3), `${by.score} ${by.renormalise} ${error}`);
        dLogits.dispose();
      }
    }
    disposeAll(logits, dWeights, bias, places, weights);
  });

  on('routeBackward stays finite where logits are far apart', async () => {
    const z = [300, -300, 0, 120, -120, 1];
    const [logits, dWeights] = [put(device, [1, 6], z), put(device, [1, 2], [1, -2])];
    for (const rule of RULES) {
      for (const chosen of [
        [0, 3],
        [1, 4],
      ]) {
        const [places, dLogits] = [putInts(device, [1, 2], chosen), device.tensor('f32', [1, 6])];
        device.routeBackward(logits, rule, places, dWeights, dLogits);
        assert.ok((await read(dLogits)).every(Number.isFinite), `${rule.score} ${chosen}`);
        disposeAll(places, dLogits);
      }
    }
    disposeAll(logits, dWeights);
  });

  on('the losses of routers equal autograd, and are replaced; their gradients add', async () => {
    const o = oracle.routerLosses;
    const logits = put(device, [tokens, experts], oracle.route.logits);
    const places = putInts(device, [tokens, k], oracle.route.places);
    const [order, offsets] = [device.tensor('i32', [tokens * k]), device.tensor('i32', [experts + 1])];
    device.dispatch(places, order, offsets);
    const losses = put(device, [2], [7, 7]);
    device.routerLosses(logits, offsets, losses);
    const error = worstError(await read(losses), [o.balance, o.z]);
    assert.ok(worst.within('routerLosses', error, 1e-6), `${error}`);
    const before = randomF32(tokens * experts, 2);
    for (const [balance, z] of [
      [1, 0],
      [0, 1],
      [1e-2, 1e-3],
    ] as const) {
      const dLogits = put(device, [tokens, experts], before);
      device.routerLossesBackward(logits, offsets, balance, z, dLogits);
      const want = o.d_balance.map((v: number, i: number) => balance * v + z * o.d_z[i] + before[i]!);
      const error = worstError(await read(dLogits), want);
      assert.ok(worst.within('routerLossesBackward', error, 1e-6), `${balance} ${z} ${error}`);
      dLogits.dispose();
    }
    disposeAll(logits, places, order, offsets, losses);
  });

  on('the balance is 1 where all experts get as much and are wanted as much, and E where one gets all', async () => {
    const losses = device.tensor('f32', [2]);
    const even = device.tensor('f32', [6, 4]);
    const counts = putInts(device, [5], [0, 3, 6, 9, 12]);
    device.routerLosses(even, counts, losses);
    const [balance, z] = await read(losses);
    assert.ok(Math.abs(balance! - 1) < 1e-6 && Math.abs(z! - Math.log(4) ** 2) < 1e-6, `${balance} ${z}`);
    device.write(
      even,
      Float32Array.from({ length: 24 }, (_, i) => (i % 4 === 1 ? 50 : 0)),
    );
    device.write(counts, Int32Array.of(0, 0, 12, 12, 12));
    device.routerLosses(even, counts, losses);
    assert.ok(Math.abs((await read(losses))[0]! - 4) < 1e-6);
    disposeAll(losses, even, counts);
  });

  on('combine, gatherRows and sigmoidScale: their ways back equal autograd', async () => {
    const o = oracle.combine;
    const order = putInts(device, [tokens * k], slots);
    const [dOut, y] = [put(device, [tokens, width], o.dY), put(device, [tokens * k, width], o.y)];
    const [weights, dY, dWeights] = [
      put(device, [tokens, k], o.weights),
      put(device, [tokens * k, width], o.y), // is replaced
      put(device, [tokens, k], o.weights), // is replaced
    ];
    device.combineBackward(dOut, y, order, weights, dY, dWeights);
    const got = [await read(dY), await read(dWeights)];
    const error = Math.max(worstError(got[0]!, o.d_y), worstError(got[1]!, o.d_weights));
    assert.ok(worst.within('combineBackward', error, 1e-6), `${error}`);
    device.combineBackward(dOut, y, order, weights, y, dWeights);
    assert.equal([await read(y), await read(dWeights)], got, 'dY may be y');

    const g = oracle.gatherRows;
    const before = randomF32(tokens * width, 5);
    const [dRows, dX] = [put(device, [tokens * k, width], g.dY), put(device, [tokens, width], before)];
    device.gatherRowsBackward(dRows, order, dX);
    const gathered = worstError(
      await read(dX),
      g.d_x.map((v: number, i: number) => v + before[i]!),
    );
    assert.ok(worst.within('gatherRowsBackward', gathered, 1e-6), `${gathered}`);

    const s = oracle.sigmoidScale;
    const [gate, x, dScaled] = [
      put(device, [tokens, 1], s.gate),
      put(device, [tokens, width], s.x),
      put(device, [tokens, width], s.dY),
    ];
    const [dInner, dGate] = [device.tensor('f32', [tokens, width]), device.tensor('f32', [tokens, 1])];
    device.sigmoidScaleBackward(gate, x, dScaled, dInner, dGate);
    const inside = await read(dInner);
    const scaled = Math.max(worstError(inside, s.d_x), worstError(await read(dGate), s.d_gate));
    assert.ok(worst.within('sigmoidScaleBackward', scaled, 1e-6), `${scaled}`);
    const gates = await read(dGate);
    device.sigmoidScaleBackward(gate, x, dScaled, dScaled, dGate);
    assert.equal([await read(dScaled), await read(dGate)], [inside, gates], 'dX may be dOut');
    disposeAll(order, dOut, y, weights, dY, dWeights, dRows, dX, gate, x, dScaled, dInner, dGate);
  });

  on('what does not fit is refused', async () => {
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const [logits, dLogits, dWeights, other] = [f(4, 6), f(4, 6), f(4, 2), f(3, 6)];
    const [places, order, offsets] = [[4, 2], [8], [7]].map((shape) => device.tensor('i32', shape)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const [x, dOut, y, dY, weights, losses, gate, dGate] = [
      f(4, 5),
      f(4, 5),
      f(8, 5),
      f(8, 5),
      f(4, 2),
      f(2),
      f(4, 1),
      f(4, 1),
    ];
    const gone = f(4, 6);
    gone.dispose();
    const rule = RULES[0]!;
    const shapes: [string, () => void][] = [
      [
        'dWeights of other rows',
        () => device.routeBackward(logits, rule, places, device.rows(dWeights, 0, 3), dLogits),
      ],
      ['dLogits of other rows', () => device.routeBackward(logits, rule, places, dWeights, other)],
      ['places as numbers', () => device.routeBackward(logits, rule, weights, dWeights, dLogits)],
      ['more choices than experts', () => device.routeBackward(f1, rule, device.rows(places, 0, 4), dWeights, f2)],
      ['offsets of other experts', () => device.routerLosses(logits, order, losses)],
      ['one loss', () => device.routerLosses(logits, offsets, f0)],
      ['gradients of other rows', () => device.routerLossesBackward(logits, offsets, 1, 1, other)],
      ['rows of another width', () => device.gatherRowsBackward(dY, order, logits)],
      ['an order of other slots', () => device.gatherRowsBackward(dY, offsets, x)],
      ['dY of other rows', () => device.combineBackward(dOut, y, order, weights, dOut, dWeights)],
      ['dWeights of other slots', () => device.combineBackward(dOut, y, order, weights, dY, gate)],
      ['gates of other rows', () => device.sigmoidScaleBackward(losses, x, dOut, dOut, dGate)],
      ['a dGate of other rows', () => device.sigmoidScaleBackward(gate, x, dOut, dOut, losses)],
    ];
    const [f0, f1, f2] = [f(1), f(4, 1), f(4, 1)];
    for (const [what, run] of shapes) {
      const fits = (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !error.message.includes('shares');
      assert.throws(run, fits, what);
    }
    const shared: [string, () => void][] = [
      ['dLogits and logits', () => device.routeBackward(logits, rule, places, dWeights, logits)],
      ['dLogits and logits, of losses', () => device.routerLossesBackward(logits, offsets, 1, 1, logits)],
      ['dY and dX', () => device.gatherRowsBackward(device.rows(y, 0, 8), order, device.rows(y, 0, 4))],
      ['dWeights and weights', () => device.combineBackward(dOut, y, order, weights, dY, weights)],
      ['dY and dOut', () => device.combineBackward(device.rows(dY, 0, 4), y, order, weights, dY, dWeights)],
      ['dX and x', () => device.sigmoidScaleBackward(gate, x, dOut, x, dGate)],
      ['dGate and gate', () => device.sigmoidScaleBackward(gate, x, dOut, dOut, gate)],
    ];
    for (const [what, run] of shared) assert.throws(run, sharing, what);
    for (const run of [
      () => device.routeBackward(gone, rule, places, dWeights, dLogits),
      () => device.routeBackward(logits, rule, places, dWeights, gone),
      () => device.routerLosses(gone, offsets, losses),
      () => device.routerLossesBackward(logits, offsets, 1, 1, gone),
      () => device.gatherRowsBackward(gone, order, x),
      () => device.combineBackward(gone, y, order, weights, dY, dWeights),
      () => device.sigmoidScaleBackward(gate, gone, dOut, dOut, dGate),
    ]) {
      assert.throws(run, code('E_DISPOSED'));
    }
    disposeAll(
      logits,
      dLogits,
      dWeights,
      other,
      places,
      order,
      offsets,
      x,
      dOut,
      y,
      dY,
      weights,
      losses,
      gate,
      dGate,
      f0,
      f1,
      f2,
    );
  });
}

test('places and orders that are none are refused in debug mode, and read nothing else without', async () => {
  for (const debug of [true, false]) {
    const device = await WasmTrainDevice.create({ debug });
    const f = (...shape: number[]) =>
      put(
        device,
        shape,
        randomF32(
          shape.reduce((a, b) => a * b),
          1,
        ),
      );
    const [logits, dLogits, dWeights, y, x] = [f(2, 3), f(2, 3), f(2, 2), f(4, 5), f(2, 5)];
    const [places, order] = [putInts(device, [2, 2], [0, 9, -1, 1]), putInts(device, [4], [0, 1, 1, 77])];
    const runs = [
      () => device.routeBackward(logits, RULES[0]!, places, dWeights, dLogits),
      () => device.gatherRowsBackward(y, order, x),
      () => device.combineBackward(x, y, order, dWeights, y, f(2, 2)),
    ];
    for (const run of runs) {
      if (debug) assert.throws(run, code('E_SHAPE'));
      else run();
    }
    for (const t of [dLogits, x, y]) assert.ok((await floats(device, t)).every(Number.isFinite));
    device.close();
  }
});

test('any number of lanes gives the same bits', async () => {
  const [tokens, experts, k, width] = [1000, 40, 4, 72];
  await sameBits(alike, async (device) => {
    const f = (seed: number, ...shape: number[]) =>
      put(
        device,
        shape,
        randomF32(
          shape.reduce((a, b) => a * b),
          seed,
          2,
        ),
      );
    const [logits, weights, dWeights, dLogits] = [
      f(1, tokens, experts),
      f(2, tokens, k),
      f(3, tokens, k),
      f(4, tokens, experts),
    ];
    const [y, dOut, dX, gate, dGate] = [
      f(5, tokens * k, width),
      f(6, tokens, width),
      f(7, tokens, width),
      f(8, tokens, 1),
      f(9, tokens, 1),
    ];
    const places = device.tensor('i32', [tokens, k]);
    const [order, offsets, losses] = [
      device.tensor('i32', [tokens * k]),
      device.tensor('i32', [experts + 1]),
      f(10, 2),
    ];
    device.route(logits, null, RULES[1]!, places, weights);
    device.dispatch(places, order, offsets);
    device.combineBackward(dOut, y, order, weights, y, dWeights);
    device.gatherRowsBackward(y, order, dX);
    for (const rule of RULES) device.routeBackward(logits, rule, places, dWeights, dLogits);
    device.routerLosses(logits, offsets, losses);
    device.routerLossesBackward(logits, offsets, 0.5, 0.1, dLogits);
    device.sigmoidScaleBackward(gate, dX, dOut, dOut, dGate);
    const results = await Promise.all([dLogits, y, dWeights, dX, losses, dOut, dGate].map((t) => floats(device, t)));
    disposeAll(logits, weights, dWeights, dLogits, y, dOut, dX, gate, dGate, places, order, offsets, losses);
    return results;
  });
});

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
