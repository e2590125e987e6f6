/** What the operations of training refuse, before any work: shapes and types, memory that is shared, tensors that are gone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ElementType, Tensor } from '../../src/device/device.ts';
import type { AdamArguments, TrainDevice } from '../../src/device/train-device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { code } from '../errors.ts';
import { putInts } from './devices.ts';
import { stored } from './sources.ts';

type Tested =
  | ('fill' | 'axpy' | 'columnSum' | 'sumSquares' | 'adamStep' | 'pack')
  | ('linearBackward' | 'linearGroupedBackward' | 'linearGroupedWeights' | 'embedBackward');

interface Calls {
  readonly fits: () => void;
  readonly wrong: readonly (() => void)[];
  /** What it writes is, or overlaps with, something else that it is given. */
  readonly sharing: readonly (() => void)[];
  readonly disposed: readonly (() => void)[];
}

const device = await WasmTrainDevice.create({ debug: true });
const made: Tensor[] = [];
const keep = (t: Tensor) => {
  made.push(t);
  return t;
};
const tensor = (type: ElementType, ...shape: number[]) => keep(device.tensor(type, shape));
const f = (...shape: number[]) => tensor('f32', ...shape);
const ints = (...numbers: number[]) => keep(putInts(device, [numbers.length], numbers));

const w = await device.loadMatrix(stored('f32', 6, 4, 1));
const q = await device.loadMatrix(stored('q8_0', 6, 32, 1));
const half = await device.loadMatrix(stored('bf16', 6, 4, 1));
const stack = await device.loadMatrices([1, 2, 3].map((seed) => stored('f32', 6, 4, seed)));
const [gone, goneInts] = [device.tensor('f32', [2, 6]), device.tensor('i32', [4])];
const goneWeight = await device.loadMatrix(stored('f32', 6, 4, 1));
const goneStack = await device.loadMatrices([1, 2, 3].map((seed) => stored('f32', 6, 4, seed)));
for (const t of [gone, goneInts, goneWeight, goneStack]) t.dispose();

/** The same bytes as something else. */
const as = (t: Tensor, type: ElementType, ...shape: number[]): Tensor => ({
  ...{ type, shape, layout: 'rows', storage: t.storage, offset: t.offset, byteLength: t.byteLength },
  ...{ disposed: false, dispose: () => {} },
});
/** Two views of a tensor that overlap in all but a row. */
const twins = (rows: number, width: number) => {
  const both = f(rows + 1, width);
  return [device.rows(both, 0, rows), device.rows(both, 1, rows)] as const;
};

const adam = (change: Partial<AdamArguments>) =>
  device.adamStep({
    ...{ parameters: f(6), gradient: f(6), m: f(6), v: f(6), step: 1, rate: 1e-3, beta1: 0.9, beta2: 0.999 },
    ...{ epsilon: 1e-8, weightDecay: 0.1, gradientScale: 1, ...change },
  });
const numbers = ['rate', 'epsilon', 'weightDecay', 'gradientScale'] as const;
const tensors = ['parameters', 'gradient', 'm', 'v'] as const;
const offsets = () => ints(0, 1, 2, 2);

const calls: Readonly<Record<Tested & keyof TrainDevice, Calls>> = {
  fill: {
    fits: () => device.fill(f(2, 3), 1),
    wrong: [() => device.fill(tensor('i32', 2), 1), () => device.fill(w, 1)],
    sharing: [],
    disposed: [() => device.fill(gone, 1)],
  },
  axpy: {
    fits: () => device.axpy(2, f(2, 3), f(2, 3)),
    wrong: [
      () => device.axpy(2, f(2, 3), f(2, 4)),
      () => device.axpy(2, f(3), tensor('f16', 3)),
      () => device.axpy(2, w, f(6, 4)),
    ],
    sharing: [() => device.axpy(2, made[0]!, made[0]!), () => device.axpy(2, ...twins(3, 4))],
    disposed: [() => device.axpy(2, gone, f(2, 6)), () => device.axpy(2, f(2, 6), gone)],
  },
  columnSum: {
    fits: () => device.columnSum(f(5, 3), f(3)),
    wrong: [
      () => device.columnSum(f(5, 3), f(5)),
      () => device.columnSum(tensor('i32', 5, 3), f(3)),
      () => device.columnSum(w, f(4)),
    ],
    sharing: [
      () => {
        const x = f(5, 3);
        device.columnSum(x, device.rows(x, 4, 1));
      },
    ],
    disposed: [() => device.columnSum(gone, f(6)), () => device.columnSum(f(2, 12), gone)],
  },
  sumSquares: {
    fits: () => device.sumSquares(f(5, 3), f(1)),
    wrong: [
      () => device.sumSquares(f(5, 3), f(2)),
      () => device.sumSquares(tensor('i32', 5), f(1)),
      () => device.sumSquares(f(5), tensor('i32', 1)),
      () => device.sumSquares(w, f(1)),
    ],
    sharing: [
      () => {
        const x = f(5, 1);
        device.sumSquares(x, device.rows(x, 4, 1));
      },
    ],
    disposed: [() => device.sumSquares(gone, f(1))],
  },
  adamStep: {
    fits: () => adam({}),
    wrong: [
      ...tensors.map((name) => () => adam({ [name]: f(5) })),
      ...tensors.map((name) => () => adam({ [name]: tensor('i32', 6) })),
      ...numbers.flatMap((name) => [Number.NaN, Number.POSITIVE_INFINITY].map((x) => () => adam({ [name]: x }))),
      ...(['beta1', 'beta2'] as const).flatMap((name) => [-0.1, 1, Number.NaN].map((x) => () => adam({ [name]: x }))),
      ...[0, -1, 1.5, Number.NaN].map((step) => () => adam({ step })),
    ],
    sharing: tensors.flatMap((a, i) =>
      tensors.slice(0, i).flatMap((b) => [
        () => {
          const x = f(6);
          adam({ [a]: x, [b]: x });
        },
        () => {
          const [x, y] = twins(2, 3);
          adam({ [a]: x, [b]: y });
        },
      ]),
    ),
    disposed: tensors.map((name) => () => adam({ [name]: gone })),
  },
  pack: {
    fits: () => {
      device.pack(f(6, 4), w);
      device.pack(f(3, 6, 4), stack);
    },
    wrong: [
      () => device.pack(f(4, 6), w),
      () => device.pack(f(24), w),
      () => device.pack(f(1, 6, 4), w),
      () => device.pack(f(18, 4), stack),
      () => device.pack(f(6, 32), q),
      () => device.pack(tensor('bf16', 6, 4), half),
      () => device.pack(f(6, 4), f(6, 4)),
      () => device.pack(w, w),
    ],
    sharing: [() => device.pack(as(w, 'f32', 6, 4), w)],
    disposed: [() => device.pack(gone, w), () => device.pack(f(6, 4), goneWeight)],
  },
  linearBackward: {
    fits: () => device.linearBackward(f(5, 6), w, f(5, 4), true),
    wrong: [
      () => device.linearBackward(f(5, 4), w, f(5, 6)),
      () => device.linearBackward(f(5, 6), w, f(4, 4)),
      () => device.linearBackward(f(5, 6), stack, f(5, 4)),
      () => device.linearBackward(f(5, 6), f(6, 4), f(5, 4)),
      () => device.linearBackward(tensor('i32', 5, 6), w, f(5, 4)),
      () => device.linearBackward(f(5, 6), w, tensor('f16', 5, 4)),
    ],
    sharing: [
      () => {
        const x = f(5, 6);
        device.linearBackward(x, w, as(x, 'f32', 5, 4));
      },
      () => device.linearBackward(f(5, 6), w, as(w, 'f32', 5, 4)),
    ],
    disposed: [
      () => device.linearBackward(gone, w, f(2, 4)),
      () => device.linearBackward(f(2, 6), goneWeight, f(2, 4)),
      () => device.linearBackward(f(2, 6), w, gone),
    ],
  },
  linearGroupedBackward: {
    fits: () => device.linearGroupedBackward(f(2, 6), offsets(), stack, f(2, 4)),
    wrong: [
      () => device.linearGroupedBackward(f(2, 6), ints(0, 1, 2), stack, f(2, 4)),
      () => device.linearGroupedBackward(f(2, 4), offsets(), stack, f(2, 4)),
      () => device.linearGroupedBackward(f(2, 6), offsets(), stack, f(2, 6)),
      () => device.linearGroupedBackward(f(2, 6), offsets(), stack, f(3, 4)),
      () => device.linearGroupedBackward(f(2, 6), f(4), stack, f(2, 4)),
      () => device.linearGroupedBackward(f(2, 6), offsets(), w, f(2, 4)),
      // a debug device looks at offsets
      () => device.linearGroupedBackward(f(2, 6), ints(0, 2, 1, 2), stack, f(2, 4)),
      () => device.linearGroupedBackward(f(2, 6), ints(0, 1, 2, 3), stack, f(2, 4)),
    ],
    sharing: [
      () => {
        const x = f(2, 6);
        device.linearGroupedBackward(x, offsets(), stack, as(x, 'f32', 2, 4));
      },
      () => {
        const x = f(2, 4);
        device.linearGroupedBackward(f(2, 6), as(x, 'i32', 4), stack, x);
      },
      () => device.linearGroupedBackward(f(2, 6), offsets(), stack, as(stack, 'f32', 2, 4)),
    ],
    disposed: [
      () => device.linearGroupedBackward(gone, offsets(), stack, f(2, 4)),
      () => device.linearGroupedBackward(f(2, 6), goneInts, stack, f(2, 4)),
      () => device.linearGroupedBackward(f(2, 6), offsets(), goneStack, f(2, 4)),
    ],
  },
  linearGroupedWeights: {
    fits: () => device.linearGroupedWeights(f(2, 6), offsets(), f(2, 4), f(3, 6, 4)),
    wrong: [
      () => device.linearGroupedWeights(f(2, 6), offsets(), f(3, 4), f(3, 6, 4)),
      () => device.linearGroupedWeights(f(2, 6), offsets(), f(2, 4), f(3, 4, 6)),
      () => device.linearGroupedWeights(f(2, 6), offsets(), f(2, 4), f(2, 6, 4)),
      () => device.linearGroupedWeights(f(2, 6), offsets(), f(2, 4), f(18, 4)),
      () => device.linearGroupedWeights(f(2, 6), offsets(), f(2, 4), stack),
      () => device.linearGroupedWeights(f(2, 6), f(4), f(2, 4), f(3, 6, 4)),
      () => device.linearGroupedWeights(f(2, 6), ints(0, 1, 2, 3), f(2, 4), f(3, 6, 4)),
    ],
    sharing: [
      () => {
        const dW = f(3, 6, 4);
        device.linearGroupedWeights(as(dW, 'f32', 2, 6), offsets(), f(2, 4), dW);
      },
      () => {
        const dW = f(3, 6, 4);
        device.linearGroupedWeights(f(2, 6), offsets(), as(dW, 'f32', 2, 4), dW);
      },
      () => {
        const dW = f(3, 6, 4);
        device.linearGroupedWeights(f(2, 6), as(dW, 'i32', 4), f(2, 4), dW);
      },
    ],
    disposed: [
      () => device.linearGroupedWeights(gone, offsets(), f(2, 4), f(3, 6, 4)),
      () => device.linearGroupedWeights(f(2, 4), offsets(), gone, f(3, 4, 6)),
      () => device.linearGroupedWeights(f(2, 6), goneInts, f(2, 4), f(3, 6, 4)),
    ],
  },
  embedBackward: {
    fits: () => device.embedBackward(ints(1, 0, 1), f(3, 4), f(2, 4)),
    wrong: [
      () => device.embedBackward(ints(1, 0), f(3, 4), f(2, 4)),
      () => device.embedBackward(ints(1, 0, 1), f(3, 4), f(2, 5)),
      () => device.embedBackward(ints(1, 0, 1), f(3, 4), f(0, 4)),
      () => device.embedBackward(f(3), f(3, 4), f(2, 4)),
      () => device.embedBackward(ints(1, 0, 1), f(3, 4), w),
      // a debug device looks at ids
      () => device.embedBackward(ints(1, 0, 2), f(3, 4), f(2, 4)),
      () => device.embedBackward(ints(1, 0, -1), f(3, 4), f(2, 4)),
    ],
    sharing: [
      () => device.embedBackward(ints(1, 0, 1), ...twins(3, 4)),
      () => {
        const dW = f(2, 4);
        device.embedBackward(as(dW, 'i32', 3), f(3, 4), dW);
      },
    ],
    disposed: [
      () => device.embedBackward(goneInts, f(4, 4), f(2, 4)),
      () => device.embedBackward(ints(1, 0), gone, f(2, 6)),
      () => device.embedBackward(ints(1, 0), f(2, 6), gone),
    ],
  },
};

const shares = ({ code: is, message }: EspalierError) => is === 'E_SHAPE' && message.includes('shares memory');

for (const [name, { fits, wrong, sharing, disposed }] of Object.entries(calls)) {
  test(`${name} refuses what does not fit, what shares memory and what is gone`, () => {
    const before = device.mark();
    const own = (error: EspalierError) => code('E_SHAPE')(error) && error.message.startsWith(`${name}:`);
    const left = made.length;
    keep(device.tensor('f32', [2, 3]));
    fits();
    for (const run of wrong) assert.throws(run, own, `${name}: ${run}`);
    for (const run of sharing) assert.throws(run, shares, `${name}: ${run}`);
    for (const run of disposed) assert.throws(run, code('E_DISPOSED'), `${name}: ${run}`);
    assert.equal(device.mark(), before, 'the scratch is as it was');
    for (const t of made.splice(left)) t.dispose();
  });
}

test('what is refused leaves everything as it was', async () => {
  const [theta, gradient, m, v] = [f(6), f(6), f(6), f(5)];
  for (const t of [theta, gradient, m]) device.fill(t, 1);
  assert.throws(() => adam({ parameters: theta, gradient, m, v }), code('E_SHAPE'));
  for (const t of [theta, gradient, m]) assert.ok((await device.read(t)).every((x) => x === 1));
});

test('nothing is left', () => {
  for (const t of [...made, w, q, half, stack]) t.dispose();
  assert.equal(device.liveTensors(), []);
  device.close();
});
test.run();
