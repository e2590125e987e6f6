/** A model that opens in a moment: random weights of the fixtures, and a tokenizer of single letters. */
import { list, readBytes } from '../files.ts';

const LETTERS = [...'ĠabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'];

const tokenizer = {
  added_tokens: [{ id: 0, content: '<|end|>', special: true }],
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    vocab: Object.fromEntries([['<|end|>', 0], ...LETTERS.map((letter, i) => [letter, i + 1])]),
    merges: [],
  },
};

const chat = "{% for m in messages %}{{ m['content'] }}{% endfor %}";

/**
 * Files by name; new arrays at each call. Context 64.
 * @param name of the fixture; the default's hidden size is 48
 */
export async function tinyFiles(name = 'llama-bf16'): Promise<Record<string, Uint8Array>> {
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const folder = `test/fixtures/tiny/${name}`;
  const names = (await list(folder)).filter((file) => /^config\.json$|^model.*\.(?:safetensors|json)$/.test(file));
  const stored = await Promise.all(names.map(async (file) => [file, await readBytes(`${folder}/${file}`)] as const));
  return {
    ...Object.fromEntries(stored),
    'tokenizer.json': json(tokenizer),
    'tokenizer_config.json': json({ bos_token: '<|end|>', eos_token: '<|end|>', chat_template: chat }),
  };
}

/** Firefox tells of a script that it cannot load as an uncaught error of the page, whoever handles it. */
export function isFirefox(): boolean {
  return typeof navigator === 'object' && / Firefox\//.test(navigator.userAgent ?? '');
}
