/**
 * Hostile models by number: a sound tiny model with something in it that is broken, absurd or a bomb. The same number is the same model.
 */
import {
  dataLength,
  f32,
  type GgufSpec,
  gguf,
  json,
  safetensors,
  text,
  texts,
  tinyGgufSpec,
  u32,
  type Value,
} from '../checkpoint/build.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { tokenizerBomb, vocabularyBomb } from './bombs.ts';
import { Draws } from './random.ts';

export interface Hostile {
  readonly what: string;
  readonly files: Record<string, Uint8Array>;
}

type Json = Record<string, unknown>;
const parse = (bytes: Uint8Array): Json => JSON.parse(new TextDecoder().decode(bytes)) as Json;

export async function hostile(seed: number): Promise<Hostile> {
  const draws = new Draws(seed);
  const kind = draws.one(KINDS);
  const files = await tinyFiles();
  return { what: `${kind.name}: ${await kind.damage(draws, files)}`, files };
}

interface Kind {
  readonly name: string;
  /** Changes the files, and says what it did. */
  damage(draws: Draws, files: Record<string, Uint8Array>): string | Promise<string>;
}

const TEXTS = ['config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;

const KINDS: readonly Kind[] = [
  {
    name: 'configuration',
    damage: (draws, files) => {
      const config = parse(files['config.json']!);
      const said = twist(draws, config, 1 + draws.below(2));
      files['config.json'] = json(config);
      return said;
    },
  },
  {
    name: 'absurd size',
    damage: (draws, files) => {
      const config = parse(files['config.json']!);
      const key = draws.one(Object.keys(config).filter((name) => typeof config[name] === 'number'));
      config[key] = draws.one([0, -1, 1, 2, 3, 1e9, 2 ** 31, 2 ** 32, 2 ** 53, 1e300, 0.5, 1e-300]);
      files['config.json'] = json(config);
      return `${key} ${config[key]}`;
    },
  },
  {
    name: 'tokenizer',
    damage: (draws, files) => {
      const tokenizer = parse(files['tokenizer.json']!);
      const said = twist(draws, tokenizer, 1 + draws.below(3));
      files['tokenizer.json'] = json(tokenizer);
      return said;
    },
  },
  {
    name: 'bomb',
    damage: (draws, files) => {
      const tokenizer = parse(files['tokenizer.json']!);
      const configuration = parse(files['tokenizer_config.json']!);
      const said = tokenizerBomb(draws, tokenizer, configuration);
      files['tokenizer.json'] = json(tokenizer);
      files['tokenizer_config.json'] = json(configuration);
      return said;
    },
  },
  {
    name: 'text',
    damage: (draws, files) => {
      const name = draws.one(TEXTS);
      const file = files[name]!.slice();
      const count = 1 + draws.below(6);
      for (let i = 0; i < count; i++)
        file[draws.below(file.length)] = draws.chance(0.8) ? 32 + draws.below(95) : draws.below(256);
      files[name] = draws.chance(0.2) ? file.subarray(0, draws.below(file.length)) : file;
      return `${count} bytes of ${name}`;
    },
  },
  {
    name: 'header',
    damage: (draws, files) => {
      const file = files['model.safetensors']!;
      const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
      const header = parse(file.subarray(8, 8 + length));
      const said = twist(draws, header, 1 + draws.below(2));
      const made = safetensors(
        header as never,
        file.length - 8 - length,
        draws.chance(0.1) ? BigInt(draws.below(1e9)) : undefined,
      );
      made.set(file.subarray(8 + length), made.length - (file.length - 8 - length));
      files['model.safetensors'] = made;
      return said;
    },
  },
  {
    name: 'many tensors',
    damage: (draws, files) => {
      const count = 10 ** (2 + draws.below(4));
      const header: Json = {};
      for (let i = 0; i < count; i++)
        header[`t${i}`] = { dtype: 'F32', shape: draws.chance(0.5) ? [] : [0], data_offsets: [0, 0] };
      files['model.safetensors'] = safetensors(header as never, dataLength(header as never));
      return `${count}`;
    },
  },
  {
    name: 'weights',
    damage: (draws, files) => {
      const file = files['model.safetensors']!.slice();
      const start = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
      const halves = new Uint16Array(file.slice(start).buffer, 0, (file.length - start) >> 1);
      const [name, value] = draws.one([
        ['NaN', 0x7fc0],
        ['infinity', 0x7f80],
        ['3e38', 0x7f61],
        ['zero', 0],
        ['-3e38', 0xff61],
        ['denormal', 1],
      ] as const);
      const all = draws.chance(0.3);
      if (all) halves.fill(value);
      else halves[draws.below(halves.length)] = value;
      file.set(new Uint8Array(halves.buffer, 0, halves.byteLength), start);
      files['model.safetensors'] = file;
      return `${all ? 'all' : 'one'} ${name}`;
    },
  },
  {
    name: 'GGUF metadata',
    damage: (draws, files) => {
      const spec = tinyGgufSpec(draws.one(['llama', 'qwen2', 'qwen3']), draws.one(['q8_0', 'q4_0', 'f16'] as const));
      const at = draws.below(spec.keys.length);
      const [key] = spec.keys[at]!;
      const [said, value] = ggufValue(draws);
      if (draws.chance(0.2)) spec.keys.splice(at, 1);
      else spec.keys[at] = [key, value];
      only(files, gguf(spec));
      return `${key} ${said}`;
    },
  },
  {
    name: 'GGUF tensors',
    damage: (draws, files) => {
      const spec = tinyGgufSpec();
      const tensor = draws.one(spec.tensors);
      const size = draws.one([0, 1, 31, 33, 2 ** 31, 2n ** 63n, 2n ** 64n - 1n]);
      const said = draws.one(['type', 'offset', 'dimensions', 'name', 'rank'] as const);
      if (said === 'type') tensor.type = draws.below(64);
      else if (said === 'offset') tensor.offset = size;
      else if (said === 'dimensions') tensor.dimensions[0] = size;
      else if (said === 'name') tensor.name = draws.one(spec.tensors).name;
      else tensor.dimensions = Array.from({ length: draws.below(9) }, () => 1);
      only(files, gguf(spec));
      return said;
    },
  },
  {
    name: 'GGUF vocabulary',
    damage: (draws, files) => {
      const { tokens, scores } = vocabularyBomb(draws);
      only(files, gguf(withVocabulary(tokens, scores)));
      return `${tokens.length} tokens`;
    },
  },
  {
    name: 'GGUF bytes',
    damage: (draws, files) => {
      const file = gguf(tinyGgufSpec());
      const count = 1 + draws.below(6);
      for (let i = 0; i < count; i++) file[draws.below(1300)] = draws.below(256);
      only(files, draws.chance(0.2) ? file.subarray(0, draws.below(file.length)) : file);
      return `${count} bytes`;
    },
  },
  {
    name: 'something else',
    damage: (draws, files) => {
      const name = draws.one(Object.keys(files));
      const [said, content] = draws.one([
        ['empty', ''],
        [
          'an LFS pointer',
          'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n',
        ],
        ['a page', '<!doctype html><html><body>404</body></html>'],
        ['nested', '['.repeat(100_000)],
        ['nested objects', '{"a":'.repeat(100_000)],
        ['null', 'null'],
        ['a list', '[]'],
        ['NaN', '{"a": NaN}'],
        ['zip', 'PK\u0003\u0004'],
      ] as const);
      files[name] = new TextEncoder().encode(content);
      return `${name} ${said}`;
    },
  },
];

function only(files: Record<string, Uint8Array>, file: Uint8Array): void {
  for (const name of Object.keys(files)) delete files[name];
  files['model.gguf'] = file;
}

function withVocabulary(tokens: readonly string[], scores: readonly number[]): GgufSpec {
  const spec = tinyGgufSpec();
  const list: Value = (to) => {
    to.u32(9).u32(6).u64(scores.length);
    for (const score of scores) to.f32(score);
  };
  spec.keys = spec.keys.filter(([key]) => key !== 'tokenizer.ggml.tokens');
  spec.keys.push(
    ['tokenizer.ggml.model', text('llama')],
    ['tokenizer.ggml.tokens', texts(tokens)],
    ['tokenizer.ggml.scores', list],
  );
  const embedding = spec.tensors.find(({ name }) => name === 'token_embd.weight')!;
  embedding.dimensions = [32, tokens.length];
  const grown = tokens.length * 34 - embedding.bytes;
  embedding.bytes = tokens.length * 34;
  const shift = Math.ceil(embedding.bytes / 32) * 32 - Math.ceil((embedding.bytes - grown) / 32) * 32;
  for (const tensor of spec.tensors) if (tensor !== embedding) tensor.offset = Number(tensor.offset) + shift;
  return spec;
}

function ggufValue(draws: Draws): readonly [string, Value] {
  const number = draws.one([0, 1, 2, 7, 31, 33, 1e6, 2 ** 31, 2 ** 32 - 1]);
  return draws.one<readonly [string, Value]>([
    [`u32 ${number}`, u32(number)],
    [`f32 ${number}`, f32(number)],
    ['f32 NaN', f32(Number.NaN)],
    ['f32 1.5', f32(1.5)],
    ['text', text('x')],
    ['long text', text('x'.repeat(100_000))],
    ['texts', texts(['a', 'a', ''])],
    ['u64', (to) => void to.u32(10).u64(2n ** 64n - 1n)],
    ['i32 -1', (to) => void to.u32(5).u32(0xffffffff)],
    ['unknown type', (to) => void to.u32(77).u32(1)],
    ['list of lists', (to) => void to.u32(9).u32(9).u64(1).u32(9).u64(1).u32(4).u32(0)],
    [
      'endless list',
      (to) =>
        void to
          .u32(9)
          .u32(4)
          .u64(2n ** 40n),
    ],
  ]);
}

/** Puts something else in some places of a JSON value. */
function twist(draws: Draws, root: Json, count: number): string {
  const said: string[] = [];
  for (let i = 0; i < count; i++) {
    let at: Json | unknown[] = root;
    let path = '';
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = draws.one(keys);
      path += `/${key.slice(0, 40)}`;
      const below = (at as Json)[key];
      if (typeof below === 'object' && below !== null && draws.chance(0.7)) {
        at = below as Json;
        continue;
      }
      const how = draws.below(10);
      if (how === 0) delete (at as Json)[key];
      else if (how === 1) (at as Json)[`${key}${key}`] = below;
      else (at as Json)[key] = strange(draws, below);
      break;
    }
    said.push(path);
  }
  return said.join(', ').slice(0, 200);
}

function strange(draws: Draws, was: unknown): unknown {
  let nested: unknown = was;
  const depth = draws.one([1, 2, 50, 1000]);
  if (draws.chance(0.1)) {
    for (let i = 0; i < depth; i++) nested = [nested];
    return nested;
  }
  return draws.one<unknown>([
    null,
    true,
    false,
    0,
    -1,
    1,
    1.5,
    -0.5,
    1e308,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    '',
    'x',
    '1',
    'null',
    '__proto__',
    [],
    [[]],
    {},
    [null],
    { a: 1 },
    'a'.repeat(100_000),
    Array.from({ length: 10_000 }, () => was),
    '\ud800',
    '\u0000',
    String(was),
    [was, was],
  ]);
}
