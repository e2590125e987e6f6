/** Every template ends: in a text or in E_TEMPLATE_INVALID, within a time and a size that follow from the conversation's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../../src/errors.ts';
import { firstPlace, lastPlace } from '../../../src/model/template/search.ts';
import { type ChatMessage, renderChat } from '../../../src/model/text/chat.ts';

const hello: ChatMessage[] = [{ role: 'user', content: 'Hello' }];
const spec = (chatTemplate: string) => ({ tokenizerJson: {}, tokenizerConfig: {}, chatTemplate });

function refusal(template: string, messages = hello, variables = {}): EspalierError {
  try {
    renderChat(spec(template), messages, { variables });
  } catch (error) {
    assert.ok(error instanceof EspalierError, String(error));
    return error;
  }
  throw new Error(`not refused: ${template.slice(0, 100)}`);
}

const BOMBS: Readonly<Record<string, string>> = {
  range: '{{ range(4000000000) }}',
  'range as a list': '{{ range(100000) | list * 1000 }}',
  'nested loops': '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}',
  'loops that write': '{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}',
  doubling:
    "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}",
  'doubling lists': '{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}',
  'exponential macros': `${Array.from({ length: 60 }, (_, i) => `{% macro m${i + 1}() %}{{ m${i}() }}{{ m${i}() }}{% endmacro %}`).join('')}{% macro m0() %}x{% endmacro %}{{ m60() }}`,
  'endless macro': '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
  'endless recursive loop': '{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}',
  'replace bomb':
    "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('a', 'aaaaaaaaaa') %}{% endfor %}",
  'replace nothing':
    "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('', ns.s) %}{% endfor %}",
  'join bomb': "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s.join(ns.s) %}{% endfor %}",
  times: "{{ 'x' * 999999999999 }}",
  'times a list': '{{ [1] * 999999999 }}',
  center: "{{ 'x' | center(999999999) }}",
  zfill: "{{ 'x'.zfill(999999999) }}",
  'format width': "{{ '%999999999d' % 1 }}",
  'format precision': "{{ '%.999999999f' % 1.5 }}",
  'brace format': "{{ '{:>999999999}'.format('x') }}",
  'brace format precision': "{{ '{:.99999999f}'.format(1.5) }}",
  indent: "{{ 'a\\nb' | indent(999999999) }}",
  'json indent': '{{ [[[[1]]]] | tojson(indent=99999999) }}',
  power: '{{ 10 ** (10 ** 10) }}',
  'power of powers': '{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n ** 3 %}{% endfor %}',
  'slice into parts': '{{ [1] | slice(999999999) | list }}',
  'batch fill': '{{ [1] | batch(999999999, 0) | list }}',
  'expand tabs': "{{ '\\t'.expandtabs(999999999) }}",
  'deep list': '{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}',
  'shared lists':
    '{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | tojson }}',
  'brackets in brackets': `{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`,
  'lists in lists': `{{ ${'['.repeat(50_000)} }}`,
  'not not not': `{{ ${'not '.repeat(50_000)} 1 }}`,
  minus: `{{ ${'-'.repeat(50_000)}1 }}`,
  'a long sum': `{{ 1${'+1'.repeat(50_000)} }}`,
  'a long chain of filters': `{{ 'a'${'|upper'.repeat(50_000)} }}`,
  'a long chain of attributes': `{{ a${'.b'.repeat(50_000)} }}`,
  'ifs in ifs': '{% if 1 %}'.repeat(50_000),
  'open strings': "{{ '".repeat(50_000),
  'open comments': '{#'.repeat(50_000),
  'a long number': `{{ ${'9'.repeat(1_000_000)} }}`,
  'a huge template': 'x'.repeat(5 << 20),
  'sort bomb': '{% for i in range(9999) %}{{ range(9999) | sort | first }}{% endfor %}',
  'unique bomb': '{% for i in range(9999) %}{{ range(9999) | unique | list | length }}{% endfor %}',
  'comparison bomb': "{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{{ s == 'x' * 1000000 }}{% endfor %}",
  'case bomb': "{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{{ s | title | length }}{% endfor %}",
  'a long format of the time': "{% for i in range(99) %}{{ strftime_now('%c' * 100000) | length }}{% endfor %}",
  'a key of tuples in tuples':
    '{% set ns = namespace(t=(1, 2)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}',
  'unique tuples in tuples':
    '{% set ns = namespace(t=(1, 2)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ [ns.t] | unique | first }}',
  'a long key again and again':
    "{% set t = ('x' * 1000000, 1) %}{% set d = {} %}{% for i in range(99999) %}{{ d.get(t) }}{{ t in d }}{% endfor %}",
  'brackets in a format': "{{ ('{[' * 400000).format() }}",
};

for (const [name, template] of Object.entries(BOMBS)) {
  test(`bomb: ${name}`, () => {
    const start = performance.now();
    const error = refusal(template);
    assert.is(error.code, 'E_TEMPLATE_INVALID');
    assert.ok(performance.now() - start < 8000, `${name}: ${performance.now() - start} ms`); // 1 s on an idle core
  });
}

test('a budget that is used up says so', () => {
  const nested = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}';
  assert.match(refusal(nested).message, /budget of \d+ steps/);
  assert.match(refusal("{{ 'x' * 999999999999 }}").message, /budget of \d+ characters/);
});

test('a long text that nearly stands in another is looked for in no more time', () => {
  const search = {
    '{{ want in text }}': 'False',
    '{{ text.find(want) }} {{ back.rfind(want) }} {{ text.count(want) }}': '-1 -1 0',
    "{{ (text|replace(want, ''))|length }}": '1000000',
    '{{ text.split(want)|length }}{{ text.rsplit(want)|length }}{{ text.partition(want)[2]|length }}': '110',
  };
  for (const [template, want] of Object.entries(search)) {
    const start = performance.now();
    const set =
      "{% set want = 'a' * 100000 %}{% set text = ('a' * 99999 ~ 'b') * 10 %}{% set back = ('b' ~ 'a' * 99999) * 10 %}";
    assert.is(renderChat(spec(set + template), hello), want, template);
    assert.ok(performance.now() - start < 8000, `${template}: ${performance.now() - start} ms`);
  }
});

test('long texts are found where JavaScript finds them', () => {
  let state = 1;
  const draw = (n: number) => (state = (state * 48271) % 2147483647) % n;
  const letters = (n: number) => Array.from({ length: n }, () => 'ab'[draw(9) === 0 ? 1 : 0]).join('');
  for (let i = 0; i < 500; i++) {
    const text = letters(400);
    const at = draw(400);
    const wanted = i % 3 === 0 ? letters(33) : text.slice(at, at + 20 + draw(60));
    const from = draw(420) - 10;
    assert.is(firstPlace(text, wanted, from), text.indexOf(wanted, from));
    assert.is(lastPlace(text, wanted, from), text.lastIndexOf(wanted, from));
    assert.is(lastPlace(text, wanted), text.lastIndexOf(wanted));
  }
});

test('long conversations are within it', () => {
  const turns = Array.from({ length: 200 }, (_, i) => ({
    role: i % 2 ? 'assistant' : 'user',
    content: `${i} <think>a</think> ${'wörter und 😀 '.repeat(360)}`,
  }));
  const template =
    "{% set ns = namespace(all='', last=0) %}{% for m in messages %}{% for n in messages %}{% if n.role == 'user' %}" +
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% set c = m.content.split('</think>')[-1].lstrip() %}" +
    "{% set ns.all = ns.all + '<|' + m.role + '|>' + c.strip() | replace('x', 'y') + '<|end|>' %}{% endfor %}{{ ns.all }}";
  const text = renderChat(spec(template), turns, {});
  assert.ok(text.length > 900_000);
  assert.is(text.match(/<\|end\|>/g)?.length, 200);
  const one = [{ role: 'user', content: 'x'.repeat(3_000_000) }];
  assert.is(renderChat(spec('{{ messages[0].content | trim | upper }}'), one).length, 3_000_000);
});

test('variables that are no plain values are E_ARGUMENT', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = { list: [cyclic] };
  let deep: unknown[] = [];
  for (let i = 0; i < 10_000; i++) deep = [deep];
  for (const value of [() => 1, Symbol('x'), new Date(), /x/, new Uint8Array(2), cyclic, deep, new Map([[1, 2]])]) {
    assert.is(refusal('x', hello, { value }).code, 'E_ARGUMENT');
  }
  const error = refusal('x', hello, { value: { at: [{ here: () => 1 }] } });
  assert.match(error.message, /value\.at\[0\]\.here is, or holds, a function/);
});

test('names of JavaScript are no attributes', () => {
  const template =
    '{{ v.__proto__ }}|{{ v.constructor }}|{{ v.hasOwnProperty }}|{{ v["toString"] }}|{{ "".length }}|{{ messages.map }}|{{ v.a }}';
  const variables = { v: JSON.parse('{"__proto__": {"x": 1}, "a": 2}') };
  assert.is(renderChat(spec(template), hello, { variables }), "{'x': 1}||||||2");
  assert.is(renderChat(spec('{{ v.__proto__ }}|'), hello, { variables: { v: {} } }), '|');
});

test.run();
