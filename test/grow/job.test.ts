// long — grows models again and again
/** Whole jobs on the embedded model: what is written, that it computes the same, and that nothing is lost on the way. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import { type GrowOptions, grow, memoryOutput, planGrow, RECEIPT_FILE } from '../../src/grow.ts';
import { openLocal } from '../../src/open-local.ts';
import type { ModelTarget } from '../../src/runtime/files/model-files.ts';
import { Worst } from '../device/devices.ts';
import { modelTarget } from '../files.ts';
import { digests, firstLayers, grown, opened, storedTensor, tensorValues } from './growth.ts';

const NANO = 'models/nano-base';
const nano = await modelTarget(NANO);
const worst = new Worst();

/** Of model.safetensors, by job: the same in every runtime and for any number of lanes. */
const PINNED = {
  granitemoeshared: '45337a5c39b9f64f768819f7c4b816f01d76ea1fa4a9707eb59d8f1905abe570',
};

const PROMPTS = ['Once upon a time', 'English: The house is small.\nGerman:', 'Question: What is 2 + 2?\nAnswer:'];

async function texts(target: ModelTarget, prompts: readonly string[] = PROMPTS): Promise<string[]> {
  const model = await openLocal(target, { precision: 'exact' });
  try {
    const all: string[] = [];
    for (const prompt of prompts) {
      all.push((await model.generate(prompt, { maxTokens: 48, stopAtEos: false }).result()).text);
    }
    return all;
  } finally {
    model.close();
  }
}

async function fails(code: string, work: () => Promise<unknown>): Promise<EspalierError> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
    assert.is(error.code, code, String(error));
    return error;
  }
  return assert.unreachable(`${code} was not thrown`) as never;
}

const granite = await grown(nano, { target: 'granitemoeshared' });
/** For what needs many jobs: the first two layers alone. */
const two = await firstLayers(2);
const small = await grown(two, { target: 'granitemoeshared', verify: false });

test('the grown model says what the dense one says, for 48 tokens on three prompts', async () => {
  assert.equal(await texts(granite.files), await texts(nano));
});

test('the deviation is measured on the written files and as small as rho', () => {
  const { deviation } = granite.receipt;
  assert.ok(deviation);
  assert.is(deviation.top1Agreement, 1);
  assert.ok(deviation.tokens > 100);
  assert.ok(worst.within('mean KL of granitemoeshared', deviation.meanKl, 1e-5), `${deviation.meanKl}`);
  assert.ok(worst.within('logits of granitemoeshared, of the largest', deviation.maxRelative, 5e-3));
  // were the routed experts not there, nothing would differ
  assert.ok(deviation.maxRelative > 1e-6);
  assert.match(deviation.statement, /mean KL/);
});

test('the files are the same to the bit for any number of lanes, and in every runtime', async () => {
  const digest = await digests(granite.files);
  assert.is(digest['model.safetensors'], PINNED.granitemoeshared);
  if ('document' in globalThis || typeof SharedArrayBuffer !== 'function') return;
  for (const lanes of [1]) {
    assert.equal(
      await digests((await grown(nano, { target: 'granitemoeshared', lanes })).files),
      digest,
      `${lanes} lanes`,
    );
  }
});

test('everything but the routed down projections and the router is copied byte for byte', async () => {
  await opened(nano, (dense) =>
    opened(granite.files, async (moe) => {
      const { nLayers } = dense.config;
      const same = async (from: string, to: string = from) =>
        assert.equal(await storedTensor(moe, to), await storedTensor(dense, from), to);
      let compared = 0;
      for (const name of dense.tensors.keys()) {
        if (/\.mlp\./.test(name)) continue;
        await same(name);
        compared++;
      }
      assert.is(compared, 2 + nLayers * 6);
      for (const layer of [0, nLayers - 1]) {
        const at = `model.layers.${layer}.mlp`;
        for (const p of ['gate_proj', 'up_proj', 'down_proj'])
          await same(`${at}.${p}.weight`, `${at}.shared_expert.${p}.weight`);
        for (let e = 0; e < 8; e++) {
          for (const p of ['gate_proj', 'up_proj']) await same(`${at}.${p}.weight`, `${at}.experts.${e}.${p}.weight`);
        }
      }
    }),
  );
  const { copied } = granite.receipt;
  assert.is(copied.length, 2 + 8 * 9);
  await opened(nano, async (dense) => {
    for (const { name, bytes, sha256 } of copied.slice(0, 12)) {
      const stored = await storedTensor(dense, name);
      assert.is(stored.byteLength, bytes);
      const own = new Uint8Array(await crypto.subtle.digest('SHA-256', stored as Uint8Array<ArrayBuffer>));
      assert.is([...own].map((b) => b.toString(16).padStart(2, '0')).join(''), sha256, name);
    }
  });
});

test('routed down projections sum to rho times the norm each, and the receipt tells their spectrum', async () => {
  const { grown: layers } = granite.receipt;
  assert.is(layers.length, 8);
  await opened(nano, (dense) =>
    opened(granite.files, async (moe) => {
      const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
      const at = 'model.layers.3.mlp';
      const size = norm(await tensorValues(dense, `${at}.down_proj.weight`));
      const noisy = Math.sqrt(1 + 0.44 ** 2);
      for (let e = 0; e < 8; e++) {
        const share = norm(await tensorValues(moe, `${at}.experts.${e}.down_proj.weight`)) / (1e-3 * size * noisy);
        assert.ok(
          worst.within('||expert|| / (rho ||W|| sqrt(1 + q²)) - 1', Math.abs(share - 1), 5e-3),
          `${e}: ${share}`,
        );
      }
      const record = layers[3]!.projections[0]!;
      assert.is(record.projection, 'down');
      assert.is(record.alphas.length, 4);
      const energy = record.blockEnergies.reduce((sum, x) => sum + x, 0);
      assert.ok(Math.abs(energy - 1) < 1e-9, `${energy}`);
      const frobenius = record.alphas.map((alpha, g) => alpha * Math.sqrt(record.blockEnergies[g]!));
      for (const each of frobenius) assert.ok(Math.abs(each / 1e-3 - 1) < 1e-6, `${each}`);
    }),
  );
  for (const { diversity, outputDiversity } of layers) {
    assert.ok(diversity > 0.875 && diversity < 0.885, `${diversity}`);
    assert.ok(outputDiversity > 0.5 && outputDiversity <= 1.2, `${outputDiversity}`);
  }
});

test('every layout that fits the model generates the same text', async () => {
  const some = PROMPTS.slice(1, 2);
  const want = await texts(two, some);
  const jobs: GrowOptions[] = [
    { target: 'qwen2_moe', gguf: true, out: '' },
    { target: 'mixtral', anchor: 'folded', out: '' },
    { preset: 'paper', layers: [1], out: '' },
    { target: 'espalier', anchor: 'folded', dtype: 'f32', layers: [0], out: '' },
  ];
  for (const { out: _, ...options } of jobs) {
    const { files, receipt } = await grown(two, options);
    assert.equal(await texts(files, some), want, JSON.stringify(options));
    const { meanKl } = receipt.deviation!;
    assert.ok(worst.within('mean KL of the other layouts', meanKl, 1e-4), `${JSON.stringify(options)}: ${meanKl}`);
  }
});

test('a plan tells the sizes that are then written', async () => {
  const plan = await planGrow(nano, { target: 'granitemoeshared' });
  assert.equal(plan.files, granite.receipt.files);
  assert.is(plan.files[0]!.bytes, granite.files['model.safetensors']!.size);
  // T9: 8 layers of 8 experts of 3 d m beside the dense model
  const [d, m] = [256, 768];
  const dense = 8192 * d + d + 8 * (2 * d + 2 * d * d + 2 * 128 * d + 3 * d * m);
  assert.is(plan.parameters, dense + 8 * (8 * 3 * d * m + 8 * d));
  assert.is(plan.activeParameters, plan.parameters - 8 * 6 * 3 * d * m);
  assert.ok(plan.seconds > 0 && plan.memoryBytes > 0);
});

test('shards have an index, and are opened as one model', async () => {
  const whole = await grown(two, { target: 'granitemoeshared' });
  const { files, receipt } = await grown(two, { target: 'granitemoeshared', maxShardBytes: 6e6 });
  assert.ok(receipt.files.length > 3);
  assert.ok(files['model.safetensors.index.json']);
  assert.equal(receipt.deviation, whole.receipt.deviation);
  await opened(whole.files, (one) =>
    opened(files, async (several) => {
      assert.equal([...several.tensors.keys()].sort(), [...one.tensors.keys()].sort());
      for (const name of one.tensors.keys()) {
        assert.equal(await storedTensor(several, name), await storedTensor(one, name), name);
      }
    }),
  );
});

test('a job that is aborted goes on where it was, and ends in the same bytes', async () => {
  const want = await digests(small.files);
  const out = memoryOutput('grown');
  const aborts = [0.2, 0.5, 0.9];
  for (const share of aborts) {
    const controller = new AbortController();
    let first: number | null = null;
    let [at, last] = [0, 0];
    const onProgress: GrowOptions['onProgress'] = ({ stage, done, total }) => {
      first ??= done / total;
      last = done / total;
      if (stage !== 'growing' || last <= share || controller.signal.aborted) return;
      at = last;
      controller.abort();
    };
    await fails('E_ABORTED', () =>
      grow(two, { target: 'granitemoeshared', verify: false, out, onProgress, signal: controller.signal }),
    );
    // in one thread, where nothing lies between: two layers, of three matrices each
    assert.ok(worst.within('share done after an abort', last - at, 1 / 6), `${at} to ${last}`);
    assert.throws(() => out.result(), 'nothing is finished');
    if (share > 0.2) assert.ok(first! > 0.05, `it began again at ${first}`);
  }
  await fails('E_ARGUMENT', () => grow(two, { target: 'granitemoeshared', verify: false, seed: 1, out }));
  await grow(two, { target: 'granitemoeshared', verify: false, out });
  assert.equal(await digests(out.result()), want);
});

test('NaN in the source, a torn file and options that contradict it are found, and nothing has its name then', async () => {
  const folder = two;
  const weights = folder['model.safetensors']!;
  const at = 8 + new DataView(weights.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(weights.subarray(8, at)));
  for (const name of ['model.layers.1.mlp.down_proj.weight', 'model.layers.1.self_attn.q_proj.weight']) {
    const broken = weights.slice();
    const [begin] = header[name].data_offsets;
    broken.set([0xc0, 0x7f], at + begin + 64); // bf16 NaN
    const out = memoryOutput('grown');
    await fails('E_TENSOR_VALUE', () => grow({ ...folder, 'model.safetensors': broken }, { out }));
    assert.throws(() => out.result());
  }
  const out = memoryOutput('grown');
  await fails('E_CHECKPOINT_TRUNCATED', () =>
    grow({ ...folder, 'model.safetensors': weights.subarray(0, weights.length - 100) }, { out }),
  );
  await fails('E_ARGUMENT', () => grow(nano, { out, experts: 8, topK: 9 }));
  await fails('E_ARGUMENT', () => grow(nano, { out, topK: 1 }));
  await fails('E_TARGET', () => grow(nano, { out, target: 'qwen3_moe' }));
  await fails('E_TARGET', () => grow(granite.files, { out }));
  assert.throws(() => out.result());
});

test('the receipt lies beside the weights and equals what was returned', async () => {
  const text = await granite.files[RECEIPT_FILE]!.text();
  assert.equal(JSON.parse(text), JSON.parse(JSON.stringify(granite.receipt)));
  assert.not.match(text, /\/(home|tmp|work|Users)\//);
});

test.after(() => worst.print());
test.run();
