/** Ranking by pooled keys against all products, and the other methods. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { type RankMethod, ShotPool } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { tinyModel } from './models.ts';

const worst = new Worst();
const device: Device = await WasmDevice.create();
const shots = ['abc. de', 'fgh, ij', 'klmno pq.', 'r', 'stu vwxy', 'abd. de'].map((text, i) => ({ id: `${i}`, text }));
const QUERY = 'abc de:';

/** Keys or queries of a text behind a prefix, before RoPE, by layer: rows of the text alone. */
async function vectors(
  { decoder }: LocalModel,
  prefix: readonly number[],
  ids: readonly number[],
  which: 'onKeys' | 'onQueries',
): Promise<Float32Array[]> {
  const copies: Tensor[] = [];
  const cache = decoder.cache();
  if (prefix.length > 0) await decoder.forward(prefix, cache);
  await decoder.forward(ids, cache, {
    [which]: (layer: number, rows: Tensor) => {
      copies[layer] = device.tensor('f32', rows.shape);
      device.copyRows(rows, copies[layer]!, 0);
    },
  });
  const data = (await Promise.all(copies.map((t) => device.read(t)))) as Float32Array[];
  for (const t of copies) t.dispose();
  cache.dispose();
  return data;
}

/** Σ over layers and heads of the mean product of a query's and a key's row, the shot's first token left out. */
function allProducts(model: LocalModel, queries: Float32Array[], keys: Float32Array[]): number[] {
  const { nHeads, nKvHeads, headDim } = model.config;
  return queries.map((q, layer) => {
    const k = keys[layer]!;
    const [t, u] = [q.length / (nHeads * headDim), k.length / (nKvHeads * headDim)];
    const first = u === 1 ? 0 : 1;
    let sum = 0;
    for (let h = 0; h < nHeads; h++) {
      const kv = Math.floor(h / (nHeads / nKvHeads));
      for (let i = 0; i < t; i++) {
        for (let j = first; j < u; j++) {
          for (let c = 0; c < headDim; c++)
            sum += q[(i * nHeads + h) * headDim + c]! * k[(j * nKvHeads + kv) * headDim + c]!;
        }
      }
    }
    return sum / (t * (u - first));
  });
}

/** Mean of a shot's keys, its first token left out. */
function meanRow(rows: Float32Array, width: number): Float64Array {
  const count = rows.length / width;
  const first = count === 1 ? 0 : 1;
  const mean = new Float64Array(width);
  for (let j = first; j < count; j++) {
    for (let c = 0; c < width; c++) mean[c]! += rows[j * width + c]! / (count - first);
  }
  return mean;
}

/** Mean over layers of the cosine between the query less its centre and each shot's key less the mean of all. */
function centredCosines(query: Float32Array, centre: Float32Array, keys: Float64Array[][], layers: number): number[] {
  const width = query.length / layers;
  return keys.map((list) => {
    const byLayer = list.map((key, layer) => {
      let [dot, q2, k2] = [0, 0, 0];
      for (let c = 0; c < width; c++) {
        const q = query[layer * width + c]! - centre[layer * width + c]!;
        const k = key[c]! - keys.reduce((sum, other) => sum + other[layer]![c]!, 0) / keys.length;
        dot += q * k;
        q2 += q * q;
        k2 += k * k;
      }
      return dot / Math.sqrt(q2 * k2);
    });
    return byLayer.reduce((a, b) => a + b) / layers;
  });
}

function standardScores(list: readonly number[]): number[] {
  const mean = list.reduce((a, b) => a + b) / list.length;
  const deviation = Math.sqrt(list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / list.length);
  return list.map((x) => (x - mean) / deviation);
}

for (const name of ['llama-gqa', 'qwen3', 'gguf-llama-yarn']) {
  test(`pooled keys give the mean of all products [${name}]`, async () => {
    const model = await tinyModel(name, device, { bos: true });
    for (const prefix of ['bare', 'prefixed'] as const) {
      const pool = await ShotPool.build(model, shots, { prefix, instruction: 'xyz.', storage: 'int8' });
      const query = await pool.encodeQuery(QUERY);
      const queries = await vectors(model, pool.prefixIds, query.ids, 'onQueries');
      const byLayer: number[][] = [];
      const keysOf: Float64Array[][] = [];
      for (const { id } of shots) {
        const seen = prefix === 'bare' ? [] : pool.prefixIds;
        const keys = await vectors(model, seen, pool.tokens(id), 'onKeys');
        keysOf.push(keys.map((rows) => meanRow(rows, model.config.nKvHeads * model.config.headDim)));
        byLayer.push(allProducts(model, queries, keys));
      }
      const layers = model.config.nLayers;
      const scoresBy = (method: RankMethod) => {
        const found = new Map(pool.rank(query, method).map(({ id, score }) => [id, score]));
        return shots.map(({ id }) => found.get(id)!);
      };
      const mean = byLayer.map((list) => list.reduce((a, b) => a + b) / layers);
      let error = worstError(scoresBy('keys'), mean);
      assert.ok(worst.within('R2, of the largest', error, 1e-5), `${error}`);
      const standard = byLayer.map((list) => {
        const z = list.map((value, layer) => {
          const column = byLayer.map((other) => other[layer]!);
          const m = column.reduce((a, b) => a + b) / column.length;
          const sd = Math.sqrt(column.reduce((sum, x) => sum + (x - m) ** 2, 0) / column.length);
          return (value - m) / sd;
        });
        return z.reduce((a, b) => a + b) / layers;
      });
      error = worstError(scoresBy('keys-z'), standard);
      assert.ok(worst.within('R2z, of the largest', error, 1e-4), `${error}`);
      // the centre is the mean over the texts of their mean queries; what it points to is taken away
      const texts = await Promise.all(shots.map(({ text }) => pool.encodeQuery(text, { withCentre: false })));
      const centre = query.vector!.map(
        (_, i) => texts.reduce((sum, { vector }) => sum + vector![i]!, 0) / shots.length,
      );
      error = worstError(query.centre!, centre);
      assert.ok(worst.within('centre, of the largest', error, 1e-5), `${error}`);
      const cosines = centredCosines(query.vector!, centre, keysOf, layers);
      error = worstError(scoresBy('keys-centred'), cosines);
      assert.ok(worst.within('keys-centred, of the largest', error, 1e-4), `${error}`);
      const words = new Map(pool.rank(query, 'bm25').map(({ id, score }) => [id, score]));
      const [byWords, byKeys] = [shots.map(({ id }) => words.get(id)!), cosines].map(standardScores);
      error = worstError(
        scoresBy('hybrid'),
        byWords!.map((score, i) => score + byKeys![i]!),
      );
      assert.ok(worst.within('hybrid, of the largest', error, 1e-4), `${error}`);
      assert.throws(
        () => pool.rank(texts[0]!, 'keys-centred'),
        (thrown: EspalierError) => thrown.code === 'E_ARGUMENT',
      );
      const order = pool.rank(query, 'keys').map(({ score }) => score);
      assert.equal(
        order,
        [...order].sort((a, b) => b - a),
      );
      pool.close();
    }
    model.close();
  });
}

test('the other methods, shots never encoded, and equal texts', async () => {
  const model = await tinyModel('llama-gqa', device);
  const pool = await ShotPool.build(model, shots, { grow: { initial: 2 } });
  const query = await pool.encodeQuery(QUERY);
  const ids = (method: RankMethod) => pool.rank(query, method).map(({ id }) => id);
  const keys = pool.rank(query, 'keys');
  assert.equal(new Set(ids('keys').slice(0, 2)), new Set(['0', '1']));
  assert.ok(keys.slice(2).every(({ score }) => score === Number.NEGATIVE_INFINITY));
  // the printed formula knows nothing of the query: the shortest is first, whatever is asked
  const printed = pool.rank(query, 'printed');
  assert.equal(printed[0], { id: '3', score: 1 });
  assert.equal(printed, pool.rank(await pool.encodeQuery('something else:'), 'printed'));
  assert.is(ids('bm25')[0], '0');
  assert.equal(ids({ random: 7 }), ids({ random: 7 }));
  assert.not.equal(ids({ random: 7 }), ids({ random: 8 }));
  assert.equal(
    ids((_, list) => list.map(({ id }) => -Number(id))),
    ['0', '1', '2', '3', '4', '5'],
  );
  pool.add([{ id: '00', text: shots[0]!.text }]);
  assert.equal(ids('bm25').length, 6);
  assert.ok(ids('bm25').includes('0') && !ids('bm25').includes('00'), 'of equal ones the lower id');
  const code = (error: EspalierError) => error.code === 'E_ARGUMENT';
  assert.throws(() => ids(() => [1]), code);
  assert.throws(() => ids((_, list) => list.map(() => Number.NaN)), code);
  const bare = await pool.encodeQuery(QUERY, { withVector: false, input: 'klmno' });
  assert.is(bare.vector, null);
  assert.throws(() => pool.rank(bare, 'keys'), code);
  assert.is(pool.rank(bare, 'bm25')[0]!.id, '2');
  pool.close();
  model.close();
});

test.after(() => {
  assert.is(device.stats().tensors, 0);
  device.close();
  worst.print();
});
test.run();
