/** What is small on disk and large, or endless, where it is taken at its word. Each is one field of an otherwise sound model. */
import type { Draws } from './random.ts';

type Json = Record<string, unknown>;

const REGEXES = [
  '(a+)+$',
  '(a|a)*b',
  '(?:x+x+)+y',
  '(\\s*\\w+\\s*)*;',
  '^(([a-z])+.)+[A-Z]([a-z])+$',
  '(.*)*(.*)*(.*)*=',
  '(?=(a*))*\\1b',
  '([^"]|"[^"]*")*$x',
  '(?:\\p{L}|\\p{L}\\p{M})*!',
  '(',
  '[z-a]',
  'a{100000}{100000}',
  '(?<!a{1,1000})b',
];

const TEMPLATES = [
  '{{ range(4000000000) }}',
  '{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}',
  '{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}',
  '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
  "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
  "{{ 'a' * 4000000000 }}",
  "{{ 'aaaa' | replace('a', 'aaaaaaaaaaaaaaaa') | replace('a', 'aaaaaaaaaaaaaaaa') | replace('a', 'aaaaaaaaaaaaaaaa') | replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') | replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaa') }}",
  "{{ '%99999999999d' | format(1) }}",
  "{{ 'x' | center(4000000000) }}",
  "{{ 'x'.zfill(4000000000) }}{{ 'x'.ljust(4000000000) }}",
  '{{ 9 ** 9 ** 9 ** 9 }}',
  '{{ [1] * 4000000000 }}',
  "{{ 'a\\n' * 100000 | indent(100000) }}",
  `${'{% if true %}'.repeat(20000)}x${'{% endif %}'.repeat(20000)}`,
  `{{ ${'('.repeat(50000)}1${')'.repeat(50000)} }}`,
  `{{ ${'-'.repeat(50000)}1 }}`,
  `{{ ${'1 + '.repeat(100000)}1 }}`,
  `{{ x${'.x'.repeat(100000)} }}`,
  '{{ messages.constructor.constructor("return process")() }}',
  '{{ ().__class__.__mro__ }}',
  '{% set d = {} %}{% set _ = d.__proto__ %}{{ d }}',
  '{% include "x" %}',
  '{{',
  '{%',
  '{% endfor %}',
  `${'{{ x }}'.repeat(100000)}`,
  '{{ messages | tojson(indent=4000000000) }}',
];

/** One bomb in a tokenizer.json or its configuration. */
export function tokenizerBomb(draws: Draws, tokenizer: Json, configuration: Json): string {
  const size = 10 ** (2 + draws.below(5));
  const kinds: readonly (readonly [string, () => void])[] = [
    [
      'regex',
      () => {
        const pattern = { Regex: draws.one(REGEXES) };
        if (draws.chance(0.7))
          tokenizer['pre_tokenizer'] = { type: 'Split', pattern, behavior: 'Isolated', invert: draws.chance(0.5) };
        else tokenizer['normalizer'] = { type: 'Replace', pattern, content: 'b' };
      },
    ],
    [
      'template',
      () => {
        configuration['chat_template'] = draws.one(TEMPLATES);
      },
    ],
    [
      'growing normalizer',
      () => {
        const step = {
          type: 'Replace',
          pattern: draws.chance(0.5) ? { String: 'a' } : { Regex: '.' },
          content: 'a'.repeat(2 + draws.below(200)),
        };
        tokenizer['normalizer'] = {
          type: 'Sequence',
          normalizers: Array.from({ length: 1 + draws.below(40) }, () => step),
        };
      },
    ],
    [
      'prepending normalizer',
      () => {
        tokenizer['normalizer'] = {
          type: 'Sequence',
          normalizers: Array.from({ length: 100 }, () => ({ type: 'Prepend', prepend: 'a'.repeat(size) })),
        };
      },
    ],
    [
      'giant added token',
      () => {
        (tokenizer['added_tokens'] as Json[]).push({
          id: 62,
          content: draws.one(['a', 'ab', '\u{1F600}', ' ']).repeat(size),
          special: draws.chance(0.5),
          normalized: draws.chance(0.5),
        });
      },
    ],
    [
      'many added tokens',
      () => {
        tokenizer['added_tokens'] = Array.from({ length: Math.min(size, 20_000) }, (_, i) => ({
          id: i,
          content: 'a'.repeat(1 + (i % 200)) + i,
          special: draws.chance(0.5),
        }));
      },
    ],
    [
      'nested sequences',
      () => {
        let node: Json = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
        for (let i = 0; i < Math.min(size, 1000); i++) node = { type: 'Sequence', pretokenizers: [node] };
        tokenizer['pre_tokenizer'] = node;
      },
    ],
    [
      'wide sequences',
      () => {
        let node: Json = { type: 'Digits', individual_digits: true };
        for (let i = 0; i < 8; i++) node = { type: 'Sequence', pretokenizers: [node, node, node, node] };
        tokenizer['pre_tokenizer'] = node;
      },
    ],
    [
      'chain of tokens',
      () => {
        const model = tokenizer['model'] as { vocab: Record<string, number>; merges: unknown[] };
        for (let i = 2; i < Math.min(size, 2000); i++) {
          model.vocab['b'.repeat(i)] = 62 + i;
          model.merges.push(`${'b'.repeat(i - 1)} b`);
        }
      },
    ],
    [
      'unigram of long tokens',
      () => {
        const vocab = Array.from({ length: Math.min(size, 2000) }, (_, i) => ['b'.repeat(i + 1), -i]);
        tokenizer['model'] = { type: 'Unigram', unk_id: 0, vocab: [['<unk>', 0], ...vocab] };
      },
    ],
    [
      'unigram without sense',
      () => {
        tokenizer['model'] = {
          type: 'Unigram',
          unk_id: draws.one([-1, null, 99, 0.5, '0', 2 ** 31]),
          vocab: [
            ['<unk>', 0],
            ['a', draws.one([1e308, -1e308, '1', [1], null])],
          ],
        };
      },
    ],
    [
      'template of a post-processor',
      () => {
        const piece = { SpecialToken: { id: '<|end|>', type_id: 0 } };
        tokenizer['post_processor'] = {
          type: 'TemplateProcessing',
          single: Array.from({ length: Math.min(size, 100_000) }, () => piece),
          pair: [],
          special_tokens: {
            '<|end|>': { id: '<|end|>', ids: Array.from({ length: 1000 }, () => 0), tokens: ['<|end|>'] },
          },
        };
      },
    ],
  ];
  const [name, apply] = draws.one(kinds);
  apply();
  return name;
}

/** A vocabulary and scores of a GGUF file that are large where merges are made of them. */
export function vocabularyBomb(draws: Draws): { tokens: string[]; scores: number[] } {
  const count = 10 + draws.below(500);
  const kind = draws.below(4);
  const tokens = Array.from({ length: count }, (_, i) => {
    if (kind === 0) return 'b'.repeat(i + 1);
    if (kind === 1) return 'ab'.repeat(1 + draws.below(4000)) + i;
    if (kind === 2) return `<0x${(i % 256).toString(16).toUpperCase().padStart(2, '0')}>`;
    return '▁'.repeat(1 + draws.below(2000));
  });
  return { tokens, scores: tokens.map((_, i) => draws.one([-i, i, 0, Number.NaN, Number.POSITIVE_INFINITY])) };
}
