// hosts: node, deno — reads a third-party model, which a page would have to hold as a whole
/** T1 to T7 of the specification on layers of SmolLM2-135M, out of a quantised file, T4 against LAPACK. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodedTensor } from '../../src/checkpoint/write/source-tensors.ts';
import { shapeOf } from '../../src/grow/methods/method.ts';
import { Slices } from '../../src/grow/methods/slices.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import type { Projection } from '../../src/grow/types.ts';
import { Worst } from '../device/devices.ts';
import { exists, modelTarget, readJson } from '../files.ts';
import { shared } from '../model/shared-files.ts';
import { normal } from '../svd/algebras.ts';
import { opened } from './growth.ts';
import {
  type Dense,
  feedForward,
  ground,
  inner,
  type Mixture,
  mixture,
  mixtureOutput,
  norm,
  relative,
} from './layers.ts';

const FILE = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;

async function smolLayer(layer: number): Promise<Dense> {
  return opened(await modelTarget(FILE), async (checkpoint) => {
    const { hiddenSize: hidden, intermediateSize: intermediate, headDim } = checkpoint.config;
    const read = (name: Projection) =>
      decodedTensor(checkpoint.tensors.get(`model.layers.${layer}.mlp.${name}_proj.weight`)!, { headDim });
    return { hidden, intermediate, gate: await read('gate'), up: await read('up'), down: await read('down') };
  });
}

if (!(await exists(FILE))) {
  test('layers of SmolLM2', () => console.log('  skipped: ../shared is not here (layers of SmolLM2)'));
} else {
  const worst = new Worst();
  const on = await ground();
  const golden = await readJson('test/fixtures/spri-smollm2.json');

  for (const one of golden.cases) {
    test(`T1 to T4: slices of layer ${one.layer}, ${one.projection}, are LAPACK's`, async () => {
      const dense = await smolLayer(one.layer);
      const projection = one.projection as Projection;
      const [rows, columns] = shapeOf(projection, dense.hidden, dense.intermediate);
      const w = dense[projection];
      const made = await Slices.make({
        ...on,
        plan: resolveOptions(),
        layer: one.layer,
        projection,
        blocks: 4,
        w,
        rows,
        columns,
      });
      const r: Float32Array[] = [];
      for (let g = 0; g < 4; g++) r.push((await on.device.read(await made.slice(g))) as Float32Array);
      made.dispose();
      const sum = Float64Array.from(w, (_, i) => r.reduce((s, x) => s + x[i]!, 0));
      assert.ok(worst.within('T1 sum of slices', relative(sum, w), 1e-5));
      for (const [g, slice] of one.slices.entries()) {
        for (let h = g + 1; h < 4; h++) {
          const cosine = Math.abs(inner(r[g]!, r[h]!)) / (norm(r[g]!) * norm(r[h]!));
          assert.ok(worst.within('T2 cosine of slices', cosine, 1e-6));
        }
        const size = (made.alphas[g]! * norm(r[g]!)) / (1e-3 * norm(w));
        assert.ok(worst.within('T3 norm', Math.abs(size - 1), 1e-4));
        assert.ok(worst.within('T4 alpha', Math.abs(made.alphas[g]! / slice.alpha - 1), 1e-11));
        assert.ok(worst.within('T4 block energy', Math.abs(made.record.blockEnergies[g]! / slice.energy - 1), 1e-11));
        const typical = slice.norm / Math.sqrt(rows * columns);
        slice.entries.forEach((x: number, i: number) => {
          const got = r[g]![((37 * i) % rows) * columns + ((101 * i) % columns)]!;
          assert.ok(worst.within('T4 slice entry, of a typical one', Math.abs(got - x) / typical, 1e-4));
        });
      }
      assert.ok(worst.within('T4 largest singular value', Math.abs(made.record.largest! / one.s[0] - 1), 1e-12));
      assert.ok(worst.within('T4 smallest singular value', Math.abs(made.record.smallest! / one.s.at(-1) - 1), 1e-9));
      // another layer's weights are not these
      assert.ok(relative(r[0]!, r[1]!) > 0.5);
    });
  }

  test('T5, T6, T7: diversity, size of the change, and folded against shared', async () => {
    const dense = await smolLayer(17);
    const paper = await mixture(on, dense, { noise: { kind: 'relative', ratio: 0.4387 } }, 'bf16');
    assert.ok(paper.record.diversity >= 0.879 && paper.record.diversity <= 0.881, `${paper.record.diversity}`);
    const silent = await mixture(on, dense, { noise: { kind: 'none' } }, 'bf16');
    assert.ok(worst.within('T5 without noise', Math.abs(silent.record.diversity - 24 / 28), 1e-5));

    const [one, three] = [await mixture(on, dense, {}), await mixture(on, dense, { rho: 3e-3 })];
    const folded = await mixture(on, dense, { anchor: 'folded' });
    for (const seed of [1, 2]) {
      const x = normal(dense.hidden, seed);
      const exact = feedForward(x, dense);
      const off = (mix: Mixture) => mixtureOutput(x, dense, mix, 2).map((v, i) => v - exact[i]!);
      const change = norm(off(one)) / norm(exact);
      assert.ok(change > 0.3e-3 && change < 2e-3, `${change}`);
      const scaled = off(one).map((v) => 3 * v);
      assert.ok(worst.within('T6 proportion', relative(off(three), scaled), 1e-5));
    }
    for (const [e, { down }] of folded.experts.entries()) {
      const correction = one.experts[e]!.down;
      assert.ok(
        down.every((v, i) => v === Math.fround(dense.down[i]! + correction[i]!)),
        `${e}`,
      );
    }
  });

  test.after(() => {
    worst.print();
    on.algebra.close();
    on.device.close();
  });
}
test.run();
