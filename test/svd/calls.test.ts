/** What calls refuse, how they end early, and that memory comes back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LinearAlgebra, type Matrix } from '../../src/svd/index.ts';
import { difference, normal } from './algebras.ts';

const algebra = await LinearAlgebra.create();
const idle = algebra.stats().bytesInUse;

async function fails(code: string, work: () => Promise<unknown>): Promise<void> {
  const { peakBytes } = algebra.stats();
  const error = await work().then(
    () => null,
    (e) => e,
  );
  assert.is(error?.code, code, String(error));
  assert.ok(error.message.length > 0 && error.hint.length > 0);
  assert.is(algebra.stats().bytesInUse, idle, 'memory is returned');
  if (code === 'E_ARGUMENT' || code === 'E_SHAPE') assert.is(algebra.stats().peakBytes, peakBytes, 'before any work');
}

/** Every call on a matrix of rows x columns. */
function calls(a: Matrix, rows: number, columns: number): (() => Promise<unknown>)[] {
  return [
    () => algebra.svd(a, { rows, columns }),
    () => algebra.svd(a, { rows, columns, accuracy: 'relative' }),
    () => algebra.truncatedSvd(a, { rows, columns, rank: 1 }),
    () => algebra.randomizedSvd(a, { rows, columns, rank: 1 }),
    () => algebra.gram(a, { rows, columns, side: 'left' }),
    () => algebra.gram(a, { rows, columns, side: 'right' }),
    ...(rows === columns ? [() => algebra.symmetricEig(a, { n: rows })] : []),
  ];
}

test('shapes and options that do not fit', async () => {
  const a = normal(12, 1);
  for (const call of [...calls(a, 3, 3), ...calls(a, 5, 2)]) await fails('E_SHAPE', call);
  for (const [rows, columns] of [
    [0, 0],
    [-3, -4],
    [1.5, 8],
    [Number.NaN, 4],
  ] as const) {
    for (const call of calls(a, rows, columns)) await fails('E_ARGUMENT', call);
  }
  for (const call of calls([1, 2] as unknown as Float64Array, 1, 2)) await fails('E_ARGUMENT', call);
  const shape = { rows: 3, columns: 4 };
  for (const rank of [0, 4, 1.5, -1]) {
    await fails('E_ARGUMENT', () => algebra.truncatedSvd(a, { ...shape, rank }));
    await fails('E_ARGUMENT', () => algebra.randomizedSvd(a, { ...shape, rank }));
  }
  await fails('E_ARGUMENT', () => algebra.randomizedSvd(a, { ...shape, rank: 1, oversampling: -1 }));
  await fails('E_ARGUMENT', () => algebra.randomizedSvd(a, { ...shape, rank: 1, powerIterations: 0.5 }));
  await fails('E_ARGUMENT', () => algebra.randomizedSvd(a, { ...shape, rank: 1, seed: -1 }));
  await fails('E_ARGUMENT', () => algebra.svd(a, { ...shape, accuracy: 'best' as 'norm' }));
  await fails('E_ARGUMENT', () => algebra.gram(a, { ...shape, side: 'up' as 'left' }));
  for (const wrong of [{ lanes: 0 }, { memoryLimit: Number.NaN }, { memory_limit: 5 }, null, 5, []])
    await fails('E_ARGUMENT', () => LinearAlgebra.create(wrong as never));
  const square = normal(9, 1);
  for (const wrong of [{ ranks: 1 }, { quality: 'yes' }, { signal: 5 }, { onProgress: 5 }, { rows: '3' }]) {
    const options = { rows: 3, columns: 3, ...wrong } as never;
    await fails('E_ARGUMENT', () => algebra.svd(square, options));
    await fails('E_ARGUMENT', () => algebra.truncatedSvd(square, { ...(options as object), rank: 1 } as never));
    await fails('E_ARGUMENT', () => algebra.gram(square, { ...(options as object), side: 'left' } as never));
    await fails('E_ARGUMENT', () => algebra.svdBatch([], wrong as never));
  }
  // a rank is not silently passed over where none is taken
  await fails('E_ARGUMENT', () => algebra.svd(square, { rows: 3, columns: 3, rank: 1 } as never));
  for (const none of [null, undefined, 5]) await fails('E_ARGUMENT', () => algebra.svd(square, none as never));
  for (const none of [null, 5, [5], [null]]) await fails('E_ARGUMENT', () => algebra.svdBatch(none as never));
  assert.throws(() => LinearAlgebra.over({} as never), /no WasmDevice/);
  // a GPU's device has parts, too
  assert.throws(() => LinearAlgebra.over({ parts: () => ({ context: null }) } as never), /no WasmDevice/);
});

test('NaN and infinity', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    for (const a of [new Float64Array(16), new Float32Array(16)]) {
      a[3] = bad;
      for (const call of calls(a, 4, 4)) await fails('E_TENSOR_VALUE', call);
    }
  }
});

test('too large for the memory, before work', async () => {
  const small = await LinearAlgebra.create({ memoryLimit: 6 << 20 });
  const before = small.stats().bytesInUse;
  const a = new Float64Array(600 * 600).fill(1);
  let progress = 0;
  const options = { rows: 600, columns: 600, onProgress: () => progress++ };
  for (const call of [
    () => small.svd(a, options),
    () => small.symmetricEig(a, { n: 600, onProgress: options.onProgress }),
    () => small.truncatedSvd(a, { ...options, rank: 3 }),
    () => small.randomizedSvd(a, { ...options, rank: 200 }),
    () => small.gram(a, { ...options, side: 'left' as const }),
  ]) {
    const error = await call().then(
      () => null,
      (e) => e,
    );
    assert.is(error?.code, 'E_OUT_OF_MEMORY', String(error));
    assert.is(small.stats().bytesInUse, before);
  }
  assert.is(progress, 0);
  // what fits still works
  assert.is((await small.svd(new Float64Array([3]), { rows: 1, columns: 1 })).s[0], 3);
  small.close();
});

test('abort: at once, and in the middle', async () => {
  const a = normal(200 * 200, 2);
  const gone = AbortSignal.abort();
  const options = { rows: 200, columns: 200 };
  await fails('E_ABORTED', () => algebra.svd(a, { ...options, signal: gone }));
  const runs = [
    (o: object) => algebra.svd(a, { ...options, ...o }),
    (o: object) => algebra.svd(a, { ...options, accuracy: 'relative', ...o }),
    (o: object) => algebra.symmetricEig(a, { n: 200, ...o }),
    (o: object) => algebra.randomizedSvd(a, { ...options, rank: 20, ...o }),
  ];
  for (const run of runs) {
    for (const after of [0.1, 0.5, 0.9]) {
      const controller = new AbortController();
      const onProgress = (f: number) => {
        if (f >= after) controller.abort();
      };
      await fails('E_ABORTED', () => run({ signal: controller.signal, onProgress }));
    }
    await fails('E_ARGUMENT', () =>
      run({
        onProgress: () => {
          throw Object.assign(new Error('what a callback throws comes out'), { code: 'E_ARGUMENT', hint: 'as it is' });
        },
      }),
    );
  }
});

test('progress rises from 0 to 1', async () => {
  const a = normal(200 * 130, 2);
  const options = { rows: 200, columns: 130 };
  for (const run of [
    (onProgress: (f: number) => void) => algebra.svd(a, { ...options, onProgress }),
    (onProgress: (f: number) => void) => algebra.svd(a, { ...options, accuracy: 'relative', onProgress }),
    (onProgress: (f: number) => void) => algebra.symmetricEig(a.subarray(0, 16900), { n: 130, onProgress }),
    (onProgress: (f: number) => void) => algebra.randomizedSvd(a, { ...options, rank: 20, onProgress }),
    (onProgress: (f: number) => void) =>
      algebra.svdBatch(
        [
          { a, ...options },
          { a, ...options },
        ],
        { onProgress },
      ),
  ]) {
    const seen: number[] = [];
    await run((f) => seen.push(f));
    assert.ok(seen.length > 3, String(seen));
    assert.ok(
      seen.every((f, i) => f <= 1 && f >= (seen[i - 1] ?? 0)),
      String(seen),
    );
    assert.ok(seen.at(-1)! > 0.99, String(seen));
  }
});

test('calls that overlap give what they give alone', async () => {
  const matrices = [1, 2, 3].map((seed) => ({ a: normal(150 * 90, seed), rows: 150, columns: 90 }));
  const alone = await algebra.svdBatch(matrices);
  const together = await Promise.all(matrices.map(({ a, rows, columns }) => algebra.svd(a, { rows, columns })));
  alone.forEach((x, i) => {
    assert.is(difference(x.s, together[i]!.s), 0);
    assert.is(difference(x.u, together[i]!.u), 0);
  });
  assert.is(algebra.stats().bytesInUse, idle);
});

test('the caller’s matrix is left as it is', async () => {
  const a = normal(36, 3);
  const copy = a.slice();
  for (const call of calls(a, 6, 6)) await call();
  assert.is(difference(a, copy), 0);
});

test('memory that grows does not disturb a call under way', async () => {
  const fresh = await LinearAlgebra.create();
  const a = normal(120 * 120, 4);
  const big = normal(500 * 500, 5);
  const [small] = await Promise.all([
    fresh.svd(a, { rows: 120, columns: 120 }),
    fresh.gram(big, { rows: 500, columns: 500, side: 'left' }),
  ]);
  assert.is(difference(small.s, (await algebra.svd(a, { rows: 120, columns: 120 })).s), 0);
  fresh.close();
});

test.after(() => algebra.close());
test.run();
