import { test } from 'uvu';
import { attack, type Expected, generator, ggufFile, printTally, truncated } from './attack.ts';
import { type Bytes, type GgufSpec, gguf, tinyGgufSpec, u32 } from './build.ts';

test('GGUF cut short', async () => {
  const whole = gguf(tinyGgufSpec());
  for (const length of [0, 3, 4, 8, 12, 23, 24, 31, 100, whole.length - 1]) {
    const code = length === 3 ? 'E_CHECKPOINT_FORMAT' : 'E_CHECKPOINT_TRUNCATED';
    await attack(`cut to ${length}`, { 'x.gguf': whole.slice(0, length) }, code);
  }
  const random = generator(2);
  for (let i = 0; i < 40; i++) {
    const length = 4 + Math.floor(random() * (whole.length - 4));
    await attack(`cut to ${length}`, { 'x.gguf': whole.slice(0, length) }, truncated);
  }
});

test('GGUF of a kind that is not read', async () => {
  await attack(
    'wrong magic',
    ggufFile((s) => (s.magic = 'GGUX')),
    'E_CHECKPOINT_FORMAT',
  );
  await attack(
    'old magic',
    ggufFile((s) => (s.magic = 'ggjt')),
    'E_CHECKPOINT_FORMAT',
  );
  for (const version of [0, 1, 4, 0x03000000, 0xffffffff]) {
    await attack(
      `version ${version}`,
      ggufFile((s) => (s.version = version)),
      'E_CHECKPOINT_FORMAT',
    );
  }
  await attack(
    'one of several',
    ggufFile((s) => s.keys.push(['split.count', u32(2)])),
    'E_CHECKPOINT_FORMAT',
  );
});

test('GGUF with counts that cannot be', async () => {
  const counts: [bigint, Expected][] = [
    [2n ** 20n, truncated],
    [2n ** 40n, truncated],
    [2n ** 53n, 'E_CHECKPOINT_HEADER'],
    [2n ** 60n, 'E_CHECKPOINT_HEADER'],
    [2n ** 64n - 1n, 'E_CHECKPOINT_HEADER'],
  ];
  for (const [count, code] of counts) {
    await attack(
      `${count} tensors`,
      ggufFile((s) => (s.nTensors = count)),
      code,
    );
    await attack(
      `${count} keys`,
      ggufFile((s) => (s.nKeys = count)),
      code,
    );
    await attack(
      `a key of ${count} bytes`,
      ggufFile((s) => s.keys.unshift(['', (to) => to.u64(count)])),
      'any',
    );
    for (const type of [0, 5, 6, 8, 9, 12]) {
      const array = (to: Bytes) => void to.u32(9).u32(type).u64(count);
      await attack(
        `array of ${count} of type ${type}`,
        ggufFile((s) => s.keys.push(['a', array])),
        code,
      );
    }
    await attack(
      `text of ${count}`,
      ggufFile((s) => s.keys.push(['a', (to) => to.u32(8).u64(count)])),
      code,
    );
    const inList = (to: Bytes) => void to.u32(9).u32(8).u64(1).u64(count);
    await attack(
      `text of ${count} in a list`,
      ggufFile((s) => s.keys.push(['a', inList])),
      code,
    );
  }
  // fewer than there are: what follows is then read as something else
  for (const fewer of [0, 1, 5]) {
    await attack(
      `${fewer} keys`,
      ggufFile((s) => (s.nKeys = fewer)),
      'any',
    );
    await attack(
      `${fewer} tensors`,
      ggufFile((s) => (s.nTensors = fewer)),
      'any',
    );
  }
});

test('GGUF metadata that goes round and round', async () => {
  const nest = (depth: number) => (to: Bytes) => {
    to.u32(9);
    for (let i = 0; i < depth; i++) to.u32(9).u64(1);
    to.u32(0).u64(1).u8(1);
  };
  await attack(
    'arrays 3 deep',
    ggufFile((s) => s.keys.push(['a', nest(3)])),
    'E_TOKENIZER_INVALID',
  ); // read; no vocabulary
  for (const depth of [4, 100, 5000]) {
    await attack(
      `arrays ${depth} deep`,
      ggufFile((s) => s.keys.push(['a', nest(depth)])),
      'E_CHECKPOINT_HEADER',
    );
  }
  const wide = (to: Bytes) => {
    to.u32(9).u32(9).u64(20_000);
    for (let i = 0; i < 20_000; i++) to.u32(0).u64(0);
  };
  await attack(
    'twenty thousand empty arrays',
    ggufFile((s) => s.keys.push(['a', wide])),
    'E_TOKENIZER_INVALID',
  );
  const header = 'E_CHECKPOINT_HEADER';
  for (const type of [13, 99, 2 ** 32 - 1]) {
    await attack(
      `value of type ${type}`,
      ggufFile((s) => s.keys.push(['a', (to) => to.u32(type)])),
      header,
    );
    await attack(
      `array of type ${type}`,
      ggufFile((s) => s.keys.push(['a', (to) => to.u32(9).u32(type)])),
      header,
    );
  }
  await attack(
    'boolean of 7',
    ggufFile((s) => s.keys.push(['a', (to) => to.u32(7).u8(7)])),
    header,
  );
  await attack(
    'list of odd booleans',
    ggufFile((s) => s.keys.push(['a', (to) => to.u32(9).u32(7).u64(1).u8(7)])),
    header,
  );
  await attack(
    'a key twice',
    ggufFile((s) => s.keys.push(s.keys[1]!)),
    header,
  );
  await attack(
    'a tensor twice',
    ggufFile((s) => (s.tensors[1]!.name = s.tensors[0]!.name)),
    header,
  );
  for (const [name, length] of [
    ['blk.00.attn_norm.weight', 32],
    ['model.layers.0.input_layernorm.weight', 32],
    ['model.norm.weight', 32],
  ] as const) {
    const second = ggufFile((s) => {
      const last = s.tensors.at(-1)!;
      const offset = Number(last.offset) + last.bytes;
      s.tensors.push({ name, dimensions: [length], type: 0, offset, bytes: 4 * length });
    });
    await attack(`${name} beside its own`, second, header);
  }
  await attack(
    'an endless key',
    ggufFile((s) => s.keys.push(['k'.repeat(70_000), u32(1)])),
    header,
  );
  await attack(
    'an endless name',
    ggufFile((s) => (s.tensors[0]!.name = 'n'.repeat(2000))),
    header,
  );
  for (const value of [0, 3, 33, 2 ** 31]) {
    await attack(
      `alignment of ${value}`,
      ggufFile((s) => s.keys.push(['general.alignment', u32(value)])),
      header,
    );
  }
});

test('GGUF tensors that cannot be', async () => {
  const layout = 'E_CHECKPOINT_LAYOUT';
  const at = (index: number, change: (t: GgufSpec['tensors'][number]) => void) =>
    ggufFile((spec) => change(spec.tensors[index]!));
  await attack(
    'overlapping',
    at(3, (t) => (t.offset = Number(t.offset) - 32)),
    layout,
  );
  await attack(
    'two in one place',
    at(3, (t) => (t.offset = 0)),
    layout,
  );
  await attack(
    'with a hole',
    at(10, (t) => (t.offset = Number(t.offset) + 32)),
    layout,
  );
  await attack(
    'not aligned',
    at(1, (t) => (t.offset = Number(t.offset) + 1)),
    layout,
  );
  for (const offset of [2n ** 40n, 2n ** 53n, 2n ** 60n, 2n ** 64n - 32n]) {
    await attack(
      `at ${offset}`,
      at(10, (t) => (t.offset = offset)),
      layout,
    );
  }
  await attack(
    'of ten dimensions',
    at(2, (t) => (t.dimensions = Array(10).fill(1))),
    'E_CHECKPOINT_HEADER',
  );
  await attack(
    'of 2^60',
    at(2, (t) => (t.dimensions = [2n ** 60n, 1])),
    layout,
  );
  await attack(
    'of -1',
    at(2, (t) => (t.dimensions = [2n ** 64n - 1n, 32])),
    layout,
  );
  await attack(
    'of 2^40 by 2^40',
    at(2, (t) => (t.dimensions = [2n ** 40n, 2n ** 40n])),
    layout,
  );
  await attack(
    'of 2^60 by 0',
    at(2, (t) => (t.dimensions = [2n ** 60n, 0])),
    layout,
  );
  await attack(
    'of half blocks',
    at(2, (t) => (t.dimensions = [16, 64])),
    layout,
  );
  await attack(
    'larger than the file',
    at(10, (t) => (t.dimensions = [2 ** 30])),
    truncated,
  );
  await attack(
    'one longer',
    at(2, (t) => (t.dimensions = [32, 33])),
    layout,
  );
  await attack(
    'transposed',
    at(7, (t) => (t.dimensions = [64, 32])),
    'E_TENSOR_SHAPE',
  );
  await attack(
    'of no dimension',
    at(10, (t) => (t.dimensions = [])),
    'E_TENSOR_SHAPE',
  );
  await attack(
    'in a matrix',
    at(10, (t) => (t.dimensions = [8, 4])),
    'E_TENSOR_SHAPE',
  );
  await attack(
    'of another type',
    at(2, (t) => (t.type = 0)),
    layout,
  );
  await attack(
    'of an unread type',
    at(2, (t) => (t.type = 20)),
    layout,
  ); // iq4_nl has other lengths
  await attack(
    'of type 4',
    at(2, (t) => (t.type = 4)),
    'E_TENSOR_TYPE',
  );
  await attack(
    'of type 2^32 - 1',
    at(2, (t) => (t.type = 2 ** 32 - 1)),
    'E_TENSOR_TYPE',
  );
  await attack(
    'integer norm',
    at(1, (t) => (t.type = 26)),
    'E_TENSOR_TYPE',
  );
  for (let i = 0; i < 11; i++) {
    await attack(
      `renamed ${i}`,
      at(i, (t) => (t.name = 'blk.0.other.weight')),
      'E_TENSOR_MISSING',
    );
  }
  const norm = ggufFile((s) => Object.assign(s.tensors.at(-1)!, { type: 8, bytes: 34 }));
  await attack('norm in blocks', norm, 'E_TENSOR_TYPE');
});

test('GGUF with frequency divisors that cannot be', async () => {
  const divisors = (dimensions: number[], type: number, bytes: number) =>
    ggufFile((s) => {
      const last = s.tensors.at(-1)!;
      const offset = Number(last.offset) + last.bytes;
      s.tensors.push({ name: 'rope_freqs.weight', dimensions, type, offset, bytes });
    });
  await attack('zeros', divisors([8], 0, 32), 'E_CONFIG_INVALID');
  await attack('too few', divisors([7], 0, 28), 'E_CONFIG_INVALID');
  await attack('a matrix', divisors([4, 2], 0, 32), 'E_CONFIG_INVALID');
  await attack('a million', divisors([1_000_000], 0, 4_000_000), 'E_CONFIG_INVALID');
  await attack('in blocks', divisors([32], 8, 34), 'E_TENSOR_TYPE');
});

test('GGUF configurations that cannot be', async () => {
  const set = (key: string, value: (to: Bytes) => void) =>
    ggufFile((s) => {
      s.keys = s.keys.filter(([name]) => name !== key);
      s.keys.push([key, value]);
    });
  const invalid = 'E_CONFIG_INVALID';
  for (const [key, value] of [
    ['llama.block_count', 0],
    ['llama.block_count', 10_001],
    ['llama.embedding_length', 0],
    ['llama.embedding_length', 2 ** 32 - 1],
    ['llama.attention.head_count', 0],
    ['llama.attention.head_count', 3],
    ['llama.attention.head_count_kv', 0],
    ['llama.attention.key_length', 15],
    ['llama.context_length', 0],
    ['llama.feed_forward_length', 2 ** 31],
    ['llama.rope.dimension_count', 64],
  ] as const) {
    await attack(`${key} ${value}`, set(key, u32(value)), invalid);
  }
  for (const bits of [0x7f800000, 0x7fc00000, 0x00000000, 0xbf800000]) {
    await attack(
      `base ${bits}`,
      set('llama.rope.freq_base', (to) => to.u32(6).u32(bits)),
      invalid,
    );
    await attack(
      `eps ${bits}`,
      set('llama.attention.layer_norm_rms_epsilon', (to) => to.u32(6).u32(bits)),
      invalid,
    );
  }
  const text = (to: Bytes) => void to.u32(8).text('x');
  await attack('a text for a number', set('llama.block_count', text), invalid);
  await attack(
    'an empty list for a number',
    set('llama.block_count', (to) => to.u32(9).u32(4).u64(0)),
    invalid,
  );
  await attack('a number for a text', set('general.architecture', u32(1)), invalid);
  await attack('a token that is a text', set('tokenizer.ggml.eos_token_id', text), invalid);
  await attack('another architecture', set('general.architecture', text), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack('partial rotation', set('llama.rope.dimension_count', u32(8)), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack('experts', set('llama.expert_count', u32(8)), 'E_ARCHITECTURE_UNSUPPORTED');
  const uneven = (to: Bytes) => void to.u32(9).u32(4).u64(2).u32(64).u32(32);
  await attack('layers that differ', set('llama.feed_forward_length', uneven), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack('values of another length', set('llama.attention.value_length', u32(8)), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack('a number for a scaling', set('llama.rope.scaling.type', u32(1)), invalid);
  const yarn = (key: string) =>
    ggufFile((s) => {
      s.keys.push(['llama.rope.scaling.type', (to) => to.u32(8).text('yarn')]);
      s.keys.push(['llama.rope.scaling.factor', u32(key === '' ? 0 : 4)]);
      if (key !== '') s.keys.push([`llama.rope.scaling.${key}`, u32(7)]);
    });
  await attack('YaRN by nothing', yarn(''), invalid);
  await attack('YaRN in part', yarn('yarn_ext_factor'), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack('YaRN of another kind', yarn('yarn_log_multiplier'), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack('unknown scaling', set('llama.rope.scaling.type', text), 'E_ARCHITECTURE_UNSUPPORTED');
  await attack(
    'more tokens than rows',
    set('tokenizer.ggml.tokens', (to) => {
      to.u32(9).u32(8).u64(9);
      for (let i = 0; i < 9; i++) to.text(`${i}`);
    }),
    'E_TENSOR_SHAPE',
  );
  for (let i = 0; i < 8; i++) {
    const content = ggufFile((s) => s.keys.splice(i, 1));
    if (i === 6) continue; // key and value heads may be left out
    await attack(`without key ${i}`, content, invalid);
  }
});

test('the tally', () => printTally(150));

test.run();
