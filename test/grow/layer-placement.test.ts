/** Grown layers: where corrections are placed, folded or beside, and what the record says of them. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { PROJECTIONS } from '../../src/grow/types.ts';
import { Worst } from '../device/devices.ts';
import { normal } from '../svd/algebras.ts';
import { feedForward, ground, grow, mixture, mixtureOutput, nanoLayer, norm, randomLayer, relative } from './layers.ts';

const worst = new Worst();
const on = await ground();
const dense = await nanoLayer(3);
const inputs = [1, 2, 3].map((seed) => normal(dense.hidden, seed));
/** A layer of random weights, for what needs many mixtures. */
const small = randomLayer(48, 96);
const smallInputs = Array.from({ length: 16 }, (_, i) => normal(small.hidden, 100 + i));
test('placement: the chosen projections get corrections of size rho, the others are the dense ones', async () => {
  for (const placement of [['gate'], ['up']] as const) {
    const mix = await mixture(on, dense, { placement });
    for (const projection of PROJECTIONS) {
      const made = mix.experts[0]![projection];
      if ((placement as readonly string[]).includes(projection)) {
        const size = norm(made) / norm(dense[projection]);
        assert.ok(size > 1e-3 && size < 1.2e-3, `${placement} ${projection} ${size}`);
      } else assert.is(made, dense[projection]);
    }
    assert.equal(
      mix.record.projections.map(({ projection }) => projection),
      placement,
    );
    const x = inputs[0]!;
    assert.ok(relative(mixtureOutput(x, dense, mix, 2), feedForward(x, dense)) < 2e-3);
    // of the projection that differs
    assert.ok(mix.record.diversity > 0.87 && mix.record.diversity < 0.89, `${mix.record.diversity}`);
    assert.ok(mix.record.outputDiversity > 0.5);
  }
});

test('several placements: the branch keeps the size rho, whatever is placed and wherever it is folded', async () => {
  const all = [['gate', 'down'], ['up', 'down'], ['gate', 'up'], PROJECTIONS] as const;
  for (const anchor of ['shared', 'folded'] as const) {
    for (const placement of all) {
      for (const rho of [1e-3, 1e-2]) {
        const mix = await mixture(on, small, { placement, rho, anchor });
        let [off, whole] = [0, 0];
        for (const x of smallInputs) {
          const exact = feedForward(x, small);
          off += norm(mixtureOutput(x, small, mix, 2).map((v, i) => v - exact[i]!)) ** 2;
          whole += norm(exact) ** 2;
        }
        const change = Math.sqrt(off / whole) / rho;
        assert.ok(change > 0.3 && change < 2, `${placement} ${anchor} ${rho}: ${change} rho`);
        // what the record says was measured on other inputs
        const { branchSize } = mix.record;
        assert.ok(branchSize > 0.3 * rho && branchSize < 2 * rho, `${placement} ${anchor} ${rho}: ${branchSize}`);
        assert.ok(mix.record.diversity > 0.8 && mix.record.diversity < 0.95, `${mix.record.diversity}`);
      }
    }
  }
});

test('the record states the size of the branch and the change of the layer, of every method and anchor', async () => {
  const plans: GrowRecipe[] = [
    {},
    { anchor: 'folded' },
    { anchor: 'none' },
    { topK: 9, groupSize: 2, anchor: 'routed' },
    { method: 'scaled-copy' },
    { method: 'zero-delta' },
    { method: 'naive' },
    { method: 'naive', preserve: 'function-preserving' },
    { method: 'noise', anchor: 'routed' },
    { method: 'drop', anchor: 'none' },
    { method: 'split' },
    { method: 'virtual-group', preserve: 'function-preserving', granularity: 2, anchor: 'none' },
  ];
  for (const plan of plans) {
    const mix = await mixture(on, small, plan);
    let [branch, change, whole] = [0, 0, 0];
    for (const x of smallInputs) {
      const exact = feedForward(x, small);
      const off = mixtureOutput(x, small, mix, plan.topK ?? 2).map((v, i) => v - exact[i]!);
      const routed = plan.anchor === 'folded' ? off : off.map((v, i) => v + (1 - mix.shared) * exact[i]!);
      branch += norm(routed) ** 2;
      change += norm(off) ** 2;
      whole += norm(exact) ** 2;
    }
    const near = (got: number, want: number, what: string) =>
      assert.ok(Math.abs(got - want) <= 0.25 * want + 1e-6, `${JSON.stringify(plan)}, ${what}: ${got}, not ${want}`);
    near(mix.record.branchSize, Math.sqrt(branch / whole), 'branch');
    near(mix.record.change, Math.sqrt(change / whole), 'change');
    assert.is(mix.record.diversityOf, /spri|scaled|zero/.test(plan.method ?? 'spri') ? 'corrections' : 'down');
  }
});

test('folded in, corrections are as diverse as beside the dense weights', async () => {
  const [shared, folded] = [await mixture(on, small, {}), await mixture(on, small, { anchor: 'folded' })];
  assert.ok(Math.abs(folded.record.diversity - shared.record.diversity) < 1e-3, `${folded.record.diversity}`);
  assert.ok(Math.abs(folded.record.outputDiversity - shared.record.outputDiversity) < 1e-3);
  const coarse = await mixture(on, small, { anchor: 'folded', rho: 0.02 }, 'bf16');
  assert.ok(Math.abs(coarse.record.diversity - shared.record.diversity) < 0.01, `${coarse.record.diversity}`);
});

test('anchors: the dense expert shared, routed as one more, or nowhere', async () => {
  const shared = await grow(on, dense, {});
  assert.equal(shared.shared('gate'), { kind: 'copy', scale: 1 });
  assert.equal(shared.shared('down'), { kind: 'copy', scale: 1 });
  assert.is(shared.routed(0, 'gate').kind, 'copy');
  assert.is(shared.routed(0, 'down').kind, 'made');
  shared.dispose();
  const routed = await grow(on, dense, { anchor: 'routed' });
  assert.is(routed.experts, 9);
  assert.is(routed.shared('down'), null);
  assert.is(routed.routed(8, 'down').kind, 'copy');
  assert.is((await routed.router('bf16')).byteLength, 9 * dense.hidden * 2);
  routed.dispose();
  const none = await grow(on, dense, { anchor: 'none' });
  assert.is(none.shared('down'), null);
  assert.is(none.experts, 8);
  none.dispose();
});

test('nothing is left on the device', () => {
  assert.equal(on.device.liveTensors(), []);
  on.algebra.close();
  on.device.close();
  worst.print();
});

test.run();
