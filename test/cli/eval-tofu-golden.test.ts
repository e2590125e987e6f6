// hosts: node, deno — reads files
// long — scores 5,000 answers of two models
/** `espalier eval tofu` on the nano models, all of TOFU, against transformers and SciPy. */
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Worst } from '../device/devices.ts';
import { exists } from '../files.ts';
import { shared, sharedJson } from '../model/shared-files.ts';
import { inProcess } from './run.ts';

const path = (name: string) => fileURLToPath(new URL(`../../${shared}${name}`, import.meta.url));

test('forget quality, probabilities and truth ratios', async () => {
  if (!(await exists(`${shared}data/tofu`)) || !(await exists(`${shared}golden/tofu.json`))) {
    console.log('  skipped: ../shared is not here (TOFU)');
    return;
  }
  const golden = await sharedJson('golden/tofu.json');
  const { model, reference, split, D, p } = golden.forget_quality;
  const worst = new Worst();
  const args = ['eval', 'tofu', path(`models/${model}`), '--data', path('data/tofu'), '--split', split];
  const given = ['--reference', path(`models/${reference}`), '--no-rouge', '--json'];
  const { code, out, err } = await inProcess([...args, ...given]);
  assert.is(code, 0, err);
  const { forgetQuality, sets } = JSON.parse(out);
  assert.is(forgetQuality.D, D);
  assert.ok(worst.within('forget quality, relative', Math.abs(forgetQuality.p / p - 1), 1e-6));
  const near = (got: number, want: number, what: string) =>
    assert.ok(worst.within(`${what}, relative`, Math.abs(got / want - 1), 1e-4), `${got} against ${want}`);
  for (const [name, want] of Object.entries<Record<string, never>>(golden[model])) {
    const found = sets[name];
    near(found.probability, want['probability']!, 'probability');
    near(found.truthRatioScore, want['truth_ratio_score']!, 'score of truth ratios');
    for (const [i, ratio] of found.truthRatio.entries()) near(ratio, want['truth_ratio']![i]!, 'truth ratio');
  }
  worst.print();
});

test.run();
