/** GGUF files whose configuration or frequency divisors cannot be. */
import { test } from 'uvu';
import { attack, ggufFile, printTally } from './attack.ts';
import { type Bytes, u32 } from './build.ts';

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

test('the tally', () => printTally(40));

test.run();
