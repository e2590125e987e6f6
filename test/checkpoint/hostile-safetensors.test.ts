import { test } from 'uvu';
import { openCheckpointFiles } from '../../src/checkpoint/open.ts';
import { attack, type Folder, generator, printTally, truncated, withConfig } from './attack.ts';
import {
  countedFiles,
  dataLength,
  gguf,
  json,
  safetensors,
  tinyConfig,
  tinyGgufSpec,
  tinyHeader,
  tinySafetensors,
} from './build.ts';

test('the base files are sound', async () => {
  for (const content of [withConfig(tinySafetensors()), { 'x.gguf': gguf(tinyGgufSpec()) }]) {
    await (await openCheckpointFiles(countedFiles(content))).close();
  }
});

test('safetensors cut short or too long', async () => {
  const whole = tinySafetensors();
  const headerEnd = 8 + Number(new DataView(whole.buffer).getBigUint64(0, true));
  for (const length of [0, 1, 7, 8, 9, 100, headerEnd - 1, headerEnd, headerEnd + 1, whole.length - 1]) {
    await attack(`cut to ${length}`, withConfig(whole.slice(0, length)), truncated);
  }
  const random = generator(1);
  for (let i = 0; i < 30; i++) {
    const length = Math.floor(random() * whole.length);
    await attack(`cut to ${length}`, withConfig(whole.slice(0, length)), truncated);
  }
  const longer = new Uint8Array(whole.length + 5);
  longer.set(whole);
  await attack('bytes at the end', withConfig(longer), 'E_CHECKPOINT_LAYOUT');
});

test('safetensors with a wrong header length', async () => {
  const header = tinyHeader();
  const data = dataLength(header);
  const length = BigInt(JSON.stringify(header).length);
  for (const [claimed, code] of [
    [0n, 'E_CHECKPOINT_HEADER'],
    [1n, 'E_CHECKPOINT_HEADER'],
    [2n, 'E_CHECKPOINT_HEADER'],
    [length - 1n, 'E_CHECKPOINT_HEADER'],
    [length + 1n, 'E_CHECKPOINT_HEADER'], // the zero behind it is no JSON
    [length + 10_000n, 'E_CHECKPOINT_HEADER'],
    [99_999_999n, 'E_CHECKPOINT_TRUNCATED'],
    [100_000_001n, 'E_CHECKPOINT_HEADER'],
    [2n ** 32n, 'E_CHECKPOINT_HEADER'],
    [2n ** 53n + 1n, 'E_CHECKPOINT_HEADER'],
    [2n ** 60n, 'E_CHECKPOINT_HEADER'],
    [2n ** 64n - 1n, 'E_CHECKPOINT_HEADER'],
  ] as const) {
    await attack(`header of ${claimed}`, withConfig(safetensors(header, data, claimed)), code);
  }
});

test('safetensors whose header is no honest JSON', async () => {
  const deep = `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`;
  const first = JSON.stringify(tinyHeader()['model.norm.weight']);
  const cases: [string, string][] = [
    ['empty', ' '.repeat(8)],
    ['a list', '[]'],
    ['a text', '"x"'],
    ['not closed', '{'],
    ['not JSON', '{model}'],
    ['spaces first', ' {}'],
    ['nested objects', deep],
    ['nested lists', `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`],
    ['nested and not closed', '{"a":'.repeat(200_000)],
    ['a shape that is a list of lists', `{"a":{"dtype":"F32","shape":${'['.repeat(50)}${']'.repeat(50)}}}`],
    ['a name twice', `{"a":${first},"a":${first}}`],
    ['a name twice, once escaped', `{"a":${first},"\\u0061":${first}}`],
    ['a field twice', '{"a":{"dtype":"F32","dtype":"F16","shape":[0],"data_offsets":[0,0]}}'],
    ['a tensor that is null', '{"a":null}'],
    ['a tensor that is a list', '{"a":[]}'],
    ['metadata that is a text', '{"__metadata__":"x"}'],
    ['no dtype', '{"a":{"shape":[],"data_offsets":[0,4]}}'],
    ['dtype a number', '{"a":{"dtype":7,"shape":[],"data_offsets":[0,4]}}'],
    ['no shape', '{"a":{"dtype":"F32","data_offsets":[0,4]}}'],
    ['shape a text', '{"a":{"dtype":"F32","shape":"4","data_offsets":[0,4]}}'],
    ['no offsets', '{"a":{"dtype":"F32","shape":[]}}'],
    ['three offsets', '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}}'],
    ['open string', '{"a'],
    ['open escape', '{"a\\'],
    ['__proto__ as a number', '{"__proto__":1}'],
  ];
  for (const [what, text] of cases) await attack(what, withConfig(safetensors(text, 4)), 'E_CHECKPOINT_HEADER');
  const bad = safetensors('{"abc":1}', 0);
  bad[10] = 0xff;
  await attack('not UTF-8', withConfig(bad), 'E_CHECKPOINT_HEADER');
  const many = `{${Array.from({ length: 100_000 }, (_, i) => `"${i}":{}`).join(',')}}`;
  await attack('a hundred thousand empty tensors', withConfig(safetensors(many, 0)), 'E_CHECKPOINT_HEADER');
});

/** The tiny header with one tensor changed. */
function changed(change: (tensor: { dtype: unknown; shape: unknown[]; data_offsets: unknown[] }) => void): Folder {
  const header = tinyHeader();
  const data = dataLength(header);
  change(header['model.layers.0.self_attn.q_proj.weight'] as never);
  return withConfig(safetensors(header, data));
}

test('safetensors with shapes and offsets that cannot be', async () => {
  const shapes: unknown[][] = [
    [-1, 1024],
    [-32, -32],
    [32.5, 32],
    [1e20, 32],
    [2 ** 53, 1],
    [2 ** 40, 2 ** 40],
    [2 ** 60, 0],
    ['32', 32],
    [null, 32],
    [[32], 32],
    [32, 33],
    [32],
    [],
    [0, 32],
    [true, 1024],
  ];
  for (const shape of shapes) {
    await attack(
      `shape ${JSON.stringify(shape)}`,
      changed((t) => (t.shape = shape)),
      'E_CHECKPOINT_LAYOUT',
    );
  }
  const header = tinyHeader();
  const [begin, end] = header['model.layers.0.self_attn.q_proj.weight']!['data_offsets'] as [number, number];
  const offsets: unknown[][] = [
    [end, begin],
    [-2048, 0],
    [begin - 2, end - 2],
    [begin + 2, end + 2],
    [0, end - begin],
    [begin, end - 2],
    [begin, end + 2],
    [begin + 0.5, end + 0.5],
    [`${begin}`, end],
    [null, null],
    [begin, 2 ** 60],
    [2 ** 60, 2 ** 60],
    [Number.MAX_SAFE_INTEGER - 2048, Number.MAX_SAFE_INTEGER],
    [-0.5, end],
  ];
  for (const pair of offsets) {
    await attack(
      `offsets ${JSON.stringify(pair)}`,
      changed((t) => (t.data_offsets = pair)),
      'E_CHECKPOINT_LAYOUT',
    );
  }
  await attack(
    'the wrong dtype',
    changed((t) => (t.dtype = 'F32')),
    'E_CHECKPOINT_LAYOUT',
  );
  await attack(
    'half the dtype',
    changed((t) => (t.dtype = 'I8')),
    'E_CHECKPOINT_LAYOUT',
  );
  await attack(
    'an integer dtype',
    changed((t) => (t.dtype = 'I16')),
    'E_TENSOR_TYPE',
  );
  await attack(
    'an unheard-of dtype',
    changed((t) => (t.dtype = 'X'.repeat(10_000))),
    'E_TENSOR_TYPE',
  );
  await attack(
    'the dtype in lower case',
    changed((t) => (t.dtype = 'bf16')),
    'E_TENSOR_TYPE',
  );
});

test('safetensors that do not fit their configuration', async () => {
  const all = tinyHeader();
  for (const missing of Object.keys(all).filter((name) => name !== '__metadata__')) {
    const header = tinyHeader((name) => name !== missing);
    await attack(`without ${missing}`, withConfig(safetensors(header, dataLength(header))), 'E_TENSOR_MISSING');
  }
  await attack(
    'transposed',
    changed((t) => (t.shape = [16, 64])),
    'E_TENSOR_SHAPE',
  );
  await attack(
    'one dimension more',
    changed((t) => (t.shape = [32, 32, 1])),
    'E_TENSOR_SHAPE',
  );
  await attack(
    'a hundred dimensions',
    changed((t) => (t.shape = [32, 32, ...Array(98).fill(1)])),
    'E_TENSOR_SHAPE',
  );
  const withExtra = (name: string) => {
    const header = tinyHeader();
    const at = dataLength(header);
    header[name] = { dtype: 'BF16', shape: [32], data_offsets: [at, at + 64] };
    return withConfig(safetensors(header, at + 64));
  };
  await attack('a bias that is denied', withExtra('model.layers.0.self_attn.q_proj.bias'), 'E_CONFIG_INVALID');
  await attack('a norm that is denied', withExtra('model.layers.0.self_attn.q_norm.weight'), 'E_CONFIG_INVALID');
  const file = tinySafetensors();
  for (const [what, change, code] of [
    ['other vocabulary', { vocab_size: 9 }, 'E_TENSOR_SHAPE'],
    ['more layers', { num_hidden_layers: 2 }, 'E_TENSOR_MISSING'],
    ['most layers', { num_hidden_layers: 10_000 }, 'E_TENSOR_MISSING'],
    ['an output of its own', { tie_word_embeddings: false }, 'E_TENSOR_MISSING'],
    ['biases', { attention_bias: true }, 'E_TENSOR_MISSING'],
    ['huge width', { intermediate_size: 2 ** 31 - 1 }, 'E_TENSOR_SHAPE'],
  ] as const) {
    const content = { 'config.json': json({ ...tinyConfig, ...change }), 'model.safetensors': file };
    await attack(`configuration with ${what}`, content, code);
  }
  await attack('empty config.json', { ...withConfig(file), 'config.json': new Uint8Array(0) }, 'E_CONFIG_INVALID');
  const generation = { 'generation_config.json': json({ eos_token_id: 'x' }) };
  await attack('strange generation_config.json', { ...withConfig(file), ...generation }, 'E_CONFIG_INVALID');
});

test('indexes of shards that lead astray', async () => {
  const names = Object.keys(tinyHeader()).filter((name) => name !== '__metadata__');
  const folder = (index: Uint8Array): Folder => ({
    'config.json': json(tinyConfig),
    'a.safetensors': tinySafetensors(),
    'model.safetensors.index.json': index,
  });
  const mapped = (file: unknown) => folder(json({ weight_map: Object.fromEntries(names.map((name) => [name, file])) }));
  const outside = ['../a.safetensors', '/etc/a.safetensors', 'x/a.safetensors', '..\\a.safetensors', 'C:a.safetensors'];
  for (const file of [...outside, '..', '', 'config.json', 'a.safetensors\0', 7, null, ['a.safetensors']]) {
    await attack(`shard ${JSON.stringify(file)}`, mapped(file), 'E_CHECKPOINT_HEADER');
  }
  await attack('shard that is not there', mapped('b.safetensors'), 'E_FILE_NOT_FOUND');
  await attack('shard of a magic name', mapped('__proto__.safetensors'), 'E_FILE_NOT_FOUND');
  const unkept = { weight_map: { ...Object.fromEntries(names.map((n) => [n, 'a.safetensors'])), x: 'a.safetensors' } };
  await attack('a promise not kept', folder(json(unkept)), 'E_TENSOR_MISSING');
  for (const index of [{}, { weight_map: [] }, { weight_map: null }, { weight_map: 'a.safetensors' }, []]) {
    await attack(`index ${JSON.stringify(index)}`, folder(json(index)), 'E_CHECKPOINT_HEADER');
  }
  await attack('index of nothing', folder(json({ weight_map: {} })), 'E_TENSOR_MISSING');
  await attack('empty index', folder(new Uint8Array(0)), 'E_CHECKPOINT_HEADER');
  await attack('bomb of an index', folder(new TextEncoder().encode('['.repeat(300_000))), 'E_CHECKPOINT_HEADER');
});

test('the tally', () => printTally(150));

test.run();
