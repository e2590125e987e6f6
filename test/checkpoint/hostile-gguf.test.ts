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

test('the tally', () => printTally(150));

test.run();
