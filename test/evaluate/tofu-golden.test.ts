/** The nano models that have memorised TOFU, against transformers and SciPy. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { forgetQuality, truthRatioScore } from '../../src/evaluate/unlearning/measures.ts';
import { measureTofu } from '../../src/evaluate/unlearning/tofu.ts';
import { readTofuSet } from '../../src/evaluate/unlearning/tofu-data.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { exists, modelTarget, readBytes } from '../files.ts';
import { shared, sharedJson } from '../model/shared-files.ts';

interface Golden {
  readonly n: number;
  readonly probability: number;
  readonly truth_ratio: readonly number[];
  readonly truth_ratio_score: number;
}
const MODELS = ['nano-tofu-full', 'nano-tofu-retain90'] as const;
/** Rows of each set that are measured here; `espalier eval tofu` measures all. */
const ROWS = 6;

if (!(await exists(`${shared}golden/tofu.json`)) || !(await exists(`${shared}data/tofu`))) {
  test('TOFU', () => console.log('  skipped: ../shared is not here (TOFU)'));
} else {
  const golden = await sharedJson('golden/tofu.json');
  const worst = new Worst();
  for (const name of MODELS) {
    test(name, async () => {
      const model = await openLocal(await modelTarget(`${shared}models/${name}`));
      for (const [file, want] of Object.entries(golden[name] as Record<string, Golden>)) {
        const whole = await readTofuSet(file, await readBytes(`${shared}data/tofu/${file}.json`));
        assert.is(whole.rows.length, want.n);
        const found = await measureTofu(model, { ...whole, rows: whole.rows.slice(0, ROWS) }, { rouge: false });
        for (const [i, ratio] of found.truthRatio!.entries()) {
          const error = Math.abs(ratio / want.truth_ratio[i]! - 1);
          assert.ok(worst.within('truth ratio, relative', error, 1e-4), `${file} ${i}: ${ratio}`);
        }
      }
      model.close();
    });
  }

  test('scores and forget quality of all rows', () => {
    for (const name of MODELS) {
      for (const [file, want] of Object.entries(golden[name] as Record<string, Golden>)) {
        const score = truthRatioScore(want.truth_ratio, file.startsWith('forget') ? 'forgotten' : 'known');
        assert.ok(worst.within('truth ratio score, relative', Math.abs(score / want.truth_ratio_score - 1), 1e-12));
      }
    }
    const [own, reference] = MODELS.map((name) => golden[name].forget10_perturbed.truth_ratio);
    const { D, p } = forgetQuality(own, reference);
    assert.ok(worst.within('D', Math.abs(D - golden.forget_quality.D), 1e-15));
    assert.ok(worst.within('p, relative', Math.abs(p / golden.forget_quality.p - 1), 1e-12));
    worst.print();
  });
}
test.run();
