/** Crews: whole tasks on workers that share no memory. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Crew } from '../../src/index.ts';
import { product, randomF32, worstError } from '../device/reference.ts';
import { rejects } from '../errors.ts';

const sizes = [
  [1, 1, 1],
  [64, 48, 96],
  [33, 70, 129],
  [200, 150, 100],
  [5, 300, 7],
] as const;

const inputs = () =>
  sizes.map(([m, n, k], i) => ({ m, n, k, a: randomF32(m * k, i + 1), b: randomF32(k * n, i + 50), alpha: 0.5 }));

test('products in order, each right, on more workers than tasks and on fewer', async () => {
  for (const workers of [1, 2, 6]) {
    const crew = await Crew.create({ workers });
    assert.is(crew.workers, workers);
    const progress: [number, number][] = [];
    const list = inputs();
    const results = await crew.map('matmul', list, { onProgress: (done, total) => progress.push([done, total]) });
    assert.equal(
      progress,
      sizes.map((_, i) => [i + 1, sizes.length]),
    );
    for (const [i, { m, n, k, a, b }] of list.entries()) {
      assert.is(a.length, m * k, 'inputs are copied');
      const want = product(m, n, k, a, b, {}).map((v) => v * 0.5);
      assert.ok(worstError(results[i]!, want) < 2e-6);
    }
    await crew.close();
  }
});

test('inputs that are given away are empty, and the result is the same', async () => {
  const crew = await Crew.create({ workers: 2 });
  const [kept, given] = [inputs(), inputs()];
  const want = await crew.map('matmul', kept);
  const got = await crew.map('matmul', given, { transfer: true });
  // each worker times the kernels for itself, and on a busy machine two may choose different ones, which round differently
  assert.is(got.length, want.length);
  for (const [i, result] of got.entries()) {
    assert.ok(worstError(result, want[i]!) < 2e-6, `task ${i}`);
  }
  assert.ok(given.every(({ a, b }) => a.length === 0 && b.length === 0));
  await crew.close();
});

test('a wrong task is its own error, and the crew goes on', async () => {
  const crew = await Crew.create({ workers: 2 });
  const [first] = inputs();
  await rejects('E_SHAPE', () => crew.run('matmul', { ...first!, k: 2 }));
  await rejects('E_SHAPE', () => crew.map('matmul', [first!, { ...first!, m: 0 }, first!]));
  await rejects('E_ARGUMENT', () => crew.run('matmul', { ...first!, a: (() => 1) as never }));
  assert.is((await crew.run('matmul', first!)).length, 1);
  await crew.close();
});

test('abort, before and while it runs', async () => {
  const crew = await Crew.create({ workers: 1 });
  await rejects('E_ABORTED', () => crew.map('matmul', inputs(), { signal: AbortSignal.abort() }));
  const controller = new AbortController();
  const many = Array.from({ length: 200 }, () => inputs()[3]!);
  let done = 0;
  const running = crew.map('matmul', many, {
    signal: controller.signal,
    onProgress: (count) => {
      done = count;
      if (count === 3) controller.abort();
    },
  });
  await rejects('E_ABORTED', () => running);
  assert.is((await crew.run('matmul', inputs()[0]!)).length, 1, 'what was not begun is dropped');
  assert.ok(done < 10, `${done}`);
  await crew.close();
});

test('what onProgress throws comes out of the call, and the crew goes on', async () => {
  const crew = await Crew.create({ workers: 1 });
  let calls = 0;
  const failing = crew.map('matmul', inputs(), {
    onProgress: () => {
      calls++;
      throw new Error('enough');
    },
  });
  await failing.then(
    () => assert.unreachable('it went on'),
    (error: Error) => assert.is(error.message, 'enough'),
  );
  assert.is((await crew.run('matmul', inputs()[0]!)).length, 1);
  assert.is(calls, 1, 'no progress of a call that has failed');
  await crew.close();
});

test('a closed crew, and one that closes under its tasks', async () => {
  const crew = await Crew.create({ workers: 1 });
  const running = crew.map('matmul', inputs());
  const failed = rejects('E_DISPOSED', () => running);
  await crew.close();
  await failed;
  await rejects('E_DISPOSED', () => crew.map('matmul', inputs()));
  await crew.close();
  await rejects('E_ARGUMENT', () => Crew.create({ workers: 0 }));
});

test('a task that cannot be sent holds up no other', async () => {
  const crew = await Crew.create({ workers: 1 });
  const [first, second] = [randomF32(90_000, 1), randomF32(90_000, 2)];
  const large = { m: 300, n: 300, k: 300, a: first, b: second };
  const before = crew.run('matmul', large);
  // the second has no arrays left when its turn comes
  const small = { m: 1, n: 1, k: 1, a: randomF32(1, 3), b: randomF32(1, 4) };
  const bad = rejects('E_ARGUMENT', () => crew.map('matmul', [small, small], { transfer: true }));
  const after = crew.run('matmul', large);
  assert.is((await before).length, 90_000);
  await bad;
  assert.is((await after).length, 90_000);
  await crew.close();
});

test.run();
