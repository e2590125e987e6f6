// long — grows a model for every target
/**
 * Grown models against Hugging Face transformers, which loaded the very same bytes with stock classes (test/oracles/grown.py): a
 * digest says that they are the same, and then our logits must be transformers'.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { PlanGrowOptions } from '../../src/grow.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { loadWeights } from '../../src/model/weights.ts';
import { Worst } from '../device/devices.ts';
import { modelTarget, readJson } from '../files.ts';
import { runAll } from '../model/run.ts';
import { digest, grown } from './growth.ts';

interface Job {
  readonly source: string;
  readonly options: PlanGrowOptions;
  readonly sha256: Readonly<Record<string, string>>;
  readonly ids: readonly number[];
  /** Entries of the vocabulary whose logits are kept. */
  readonly entries: readonly number[];
  /** Largest magnitude of any logit. */
  readonly largest: number;
  /** [ids, entries] f32, base64. */
  readonly logits: string;
}

const jobs: Readonly<Record<string, Job>> = await readJson('test/fixtures/grown.json');
const worst = new Worst();
const device = await WasmDevice.create();
/** Of the largest logit; the issue asks for 1e-3. */
const LOGITS = 2e-5;

for (const [name, job] of Object.entries(jobs)) {
  test(`${name}: the same bytes as transformers loaded, and its logits`, async () => {
    const { files } = await grown(await modelTarget(job.source), { ...job.options, verify: false });
    for (const [file, want] of Object.entries(job.sha256)) assert.is(await digest(files[file]!), want, file);
    const checkpoint = await openCheckpoint(files);
    const decoder = new Decoder(device, checkpoint.config, await loadWeights(device, checkpoint), 'exact');
    await checkpoint.close();
    const { logits } = await runAll(decoder, job.ids);
    const { vocabSize } = checkpoint.config;
    decoder.dispose();
    const bytes = Uint8Array.from(atob(job.logits), (c) => c.charCodeAt(0));
    const want = new Float32Array(bytes.buffer);
    assert.is(want.length, job.ids.length * job.entries.length);
    let error = 0;
    for (const [row] of job.ids.entries()) {
      for (const [i, entry] of job.entries.entries()) {
        error = Math.max(error, Math.abs(logits[row * vocabSize + entry]! - want[row * job.entries.length + i]!));
      }
    }
    assert.ok(worst.within('logits against transformers, of the largest', error / job.largest, LOGITS), `${error}`);
  });
}

test.after(() => {
  worst.print();
  device.close();
});
test.run();
