/** Rows on their way to the cache, against `rope` and `copyRows`, which are tested by themselves. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CacheRowsArguments, RopeLayout, Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';
import { devices, put, putInts, testNothingLeft, testsOn } from './devices.ts';
import { randomF32 } from './reference.ts';

const all = await devices();

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('cacheRows is rope and copyRows', async () => {
    for (const [rows, heads, kvHeads, headDim, rotaryDims, layout] of [
      [1, 9, 3, 64, 64, 'half'],
      [5, 4, 2, 16, 8, 'half'],
      [3, 2, 1, 6, 4, 'interleaved'],
      [70, 1, 1, 10, 10, 'interleaved'],
    ] as const) {
      for (const [withQueries, withTable] of [
        [true, true],
        [false, true],
        [true, false],
      ] as const) {
        const layoutOf = (count: number): RopeLayout => ({ heads: count, headDim, rotaryDims, layout });
        const [queryLayout, keyLayout] = [layoutOf(heads), layoutOf(kvHeads)];
        const [width, queryWidth, capacity, toRow] = [kvHeads * headDim, heads * headDim, rows + 7, 4];
        const positions = putInts(
          device,
          [rows],
          Int32Array.from({ length: rows }, (_, i) => (i * 3) % 11),
        );
        const angles = put(device, [11, 2, rotaryDims / 2], randomF32(11 * rotaryDims, 5));
        const table = withTable ? angles : null;
        const run = async (apart: boolean) => {
          const q = put(device, [rows, queryWidth], randomF32(rows * queryWidth, 1));
          const [k, v] = [2, 3].map((seed) => put(device, [rows, width], randomF32(rows * width, seed)));
          // a layer of a cache of two, which stand in one tensor
          const caches = [6, 7].map((seed) =>
            put(device, [2 * capacity, width], randomF32(2 * capacity * width, seed)),
          );
          const [keys, values] = caches.map((t) => device.rows(t, capacity, capacity)) as [Tensor, Tensor];
          if (apart) {
            if (table && withQueries) device.rope(q, table, positions, queryLayout);
            if (table) device.rope(k!, table, positions, keyLayout);
            device.copyRows(k!, keys, toRow);
            device.copyRows(v!, values, toRow);
          } else {
            const given = { k: k!, v: v!, keys, values, toRow, table, positions, queryLayout, keyLayout };
            device.cacheRows({ q: withQueries ? q : null, ...given });
          }
          const got = await device.read([q, ...caches]);
          for (const t of [q, k!, v!, ...caches]) t.dispose();
          return got;
        };
        assert.equal(await run(false), await run(true), `${rows} rows, ${headDim}, ${layout}`);
        for (const t of [positions, angles]) t.dispose();
      }
    }
  });

  on('column takes one number of each row', async () => {
    for (const [rows, width, column] of [
      [1, 2, 0],
      [5, 3, 2],
      [300, 1, 0],
    ] as const) {
      const values = Int32Array.from({ length: rows * width }, (_, i) => (i * 7919) % 1000);
      const [x, out] = [putInts(device, [rows, width], values), device.tensor('i32', [rows])];
      device.column(x, column, out);
      const want = Int32Array.from({ length: rows }, (_, r) => values[r * width + column]!);
      assert.equal(await device.read(out), want);
      for (const t of [x, out]) t.dispose();
    }
  });

  on('cacheRows refuses what does not fit', async () => {
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const positions = device.tensor('i32', [2]);
    const [q, k, v, keys, values, table] = [f(2, 8), f(2, 4), f(2, 4), f(5, 4), f(5, 4), f(3, 2, 2)] as const;
    const layout = { headDim: 4, rotaryDims: 4, layout: 'half' } as const;
    const fits: CacheRowsArguments = {
      ...{ q, k, v, keys, values, toRow: 3, table, positions },
      ...{ queryLayout: { heads: 2, ...layout }, keyLayout: { heads: 1, ...layout } },
    };
    device.cacheRows(fits);
    const bad = [f(3, 4), f(2, 5), f(5, 3)] as const;
    for (const change of [
      { toRow: 4 },
      { toRow: -1 },
      { v: bad[0] },
      { k: bad[1] },
      { values: bad[2] },
      { values: keys },
      { q: k },
      { k: v },
      { keyLayout: { heads: 2, ...layout } },
      { queryLayout: { heads: 4, ...layout, headDim: 2, rotaryDims: 2 } },
      { queryLayout: { heads: 2, ...layout, rotaryDims: 2 } },
      { queryLayout: { heads: 2, ...layout, layout: 'interleaved' as const } },
      { positions: table },
    ]) {
      assert.throws(() => device.cacheRows({ ...fits, ...change }), code('E_SHAPE'), Object.keys(change)[0]);
    }
    for (const t of [q, k, v, keys, values, table, positions, ...bad]) t.dispose();
    assert.throws(() => device.cacheRows(fits), code('E_DISPOSED'));
  });
}

testNothingLeft(all);

test.run();
