/** What `inspect` shows of models that cannot be used: all that can be read, and why. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inspectModel } from '../src/inspect.ts';
import {
  dataLength,
  gguf,
  type Json,
  json,
  safetensors,
  text,
  tinyConfig,
  tinyGgufSpec,
  tinyHeader,
  tinySafetensors,
} from './checkpoint/build.ts';
import { rejects } from './errors.ts';

const folder = (weights: Uint8Array, changes: Json = {}) => ({
  'config.json': json({ ...tinyConfig, ...changes }),
  'model.safetensors': weights,
});
const without = (pattern: RegExp): Uint8Array => {
  const names = Object.keys(tinyHeader()).filter((name) => name !== '__metadata__' && !pattern.test(name));
  // side by side again
  const head: ReturnType<typeof tinyHeader> = {};
  let at = 0;
  for (const name of names) {
    const { shape } = tinyHeader()[name] as { shape: number[] };
    const bytes = shape.reduce((a, b) => a * b, 2);
    head[name] = { dtype: 'BF16', shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  return safetensors(head, dataLength(head));
};
const codes = (report: Awaited<ReturnType<typeof inspectModel>>) => report.unsupported.map(({ code }) => code);

test("a wrong target is the caller's fault, and no report", async () => {
  await rejects('E_ARGUMENT', () => inspectModel('http://'));
});

test('with one missing tensor all else is shown', async () => {
  const whole = await inspectModel(folder(tinySafetensors()));
  const report = await inspectModel(folder(without(/up_proj/)));
  assert.equal(report.config, whole.config);
  assert.is(report.parameters, whole.parameters - 64 * 32);
  assert.ok(report.memory!.weightBytes > 0 && report.fileBytes > 0);
  assert.equal(codes(report), ['E_TENSOR_MISSING', 'E_FILE_NOT_FOUND']); // and no tokenizer
  assert.match(report.unsupported[0]!.message, 'model.layers.0.mlp.up_proj.weight');
});

test('many missing tensors are counted', async () => {
  const report = await inspectModel(folder(tinySafetensors(), { num_hidden_layers: 5 }));
  const missing = report.unsupported.filter(({ code }) => code === 'E_TENSOR_MISSING');
  assert.is(missing.length, 21);
  assert.match(missing.at(-1)!.message, 'And 16 more');
});

test('a configuration that is refused, and weights that can be read', async () => {
  for (const changes of [{ model_type: 'gemma' }, { hidden_size: 'x' }, { rms_norm_eps: null }]) {
    const report = await inspectModel(folder(tinySafetensors(), changes));
    assert.equal([report.config, report.memory, report.format], [null, null, 'safetensors']);
    assert.equal(report.types, { bf16: 11 });
    assert.ok(report.parameters > 0);
    assert.match(codes(report)[0]!, /E_ARCHITECTURE_UNSUPPORTED|E_CONFIG_INVALID/);
  }
  const spec = tinyGgufSpec();
  spec.keys = spec.keys.map(([key, value]) => [key, key === 'general.architecture' ? text('gemma2') : value]);
  const report = await inspectModel(gguf(spec));
  assert.equal([report.config, report.format, codes(report)[0]], [null, 'gguf', 'E_ARCHITECTURE_UNSUPPORTED']);
  assert.equal(report.types, { q8_0: 8, f32: 3 });
});

test('a configuration without weights', async () => {
  const report = await inspectModel(folder(new Uint8Array(7)));
  assert.is(report.config!.architecture, 'llama');
  assert.equal(codes(report), ['E_CHECKPOINT_TRUNCATED', 'E_FILE_NOT_FOUND']);
});

test('shards of which one is missing', async () => {
  const names = Object.keys(tinyHeader()).filter((name) => name !== '__metadata__');
  const weight_map = Object.fromEntries(names.map((name, i) => [name, i < 5 ? 'a.safetensors' : 'b.safetensors']));
  const first = tinyHeader((name) => names.indexOf(name) < 5);
  const report = await inspectModel({
    'config.json': json(tinyConfig),
    'a.safetensors': safetensors(first, dataLength(first)),
    'model.safetensors.index.json': json({ metadata: {}, weight_map }),
  });
  assert.equal(report.types, { bf16: 5 });
  assert.equal(new Set(codes(report)), new Set(['E_FILE_NOT_FOUND', 'E_TENSOR_MISSING']));
});

test('an embedding that is stored twice, and tensors that nobody reads, are no parameters', async () => {
  const once = tinyHeader();
  const bytes = 2 * 8 * 32;
  const twice = { ...once };
  for (const name of ['lm_head.weight', 'score.weight']) {
    const at = dataLength(twice);
    twice[name] = { dtype: 'BF16', shape: [8, 32], data_offsets: [at, at + bytes] };
  }
  const [one, two] = await Promise.all(
    [once, twice].map((header) => inspectModel(folder(safetensors(header, dataLength(header))))),
  );
  assert.equal(codes(two!), codes(one!)); // the tokenizer is missing
  assert.is(two!.parameters, one!.parameters);
  assert.equal([one!.types, two!.types], [{ bf16: 11 }, { bf16: 13 }]);
  assert.equal(two!.unusedTensors, ['score.weight']);
});

test('keys and tensors that are ignored, and notes', async () => {
  const report = await inspectModel(folder(tinySafetensors(), { some_scale: 3, pad_token_id: 99 }));
  assert.equal(report.ignoredKeys, ['some_scale']);
  assert.equal(report.notes, ['config.json: pad_token_id is 99, outside the vocabulary of 8; it is ignored.']);
});

test.run();
