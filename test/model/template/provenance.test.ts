/** Which characters of a rendered conversation came from the caller. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ChatMessage, renderChat, renderChatSegments } from '../../../src/model/text/chat.ts';
import type { ChatOptions } from '../../../src/model/text/options.ts';
import { fixture } from '../shared-files.ts';

/** The rendered text with the caller's stretches in brackets. */
function marked(chatTemplate: string, content: string, options: ChatOptions = {}): string {
  const messages: ChatMessage[] = [{ role: 'user', content, name: 'Bo' }];
  return renderChatSegments({ tokenizerJson: {}, tokenizerConfig: { eos_token: 'E' }, chatTemplate }, messages, options)
    .map(({ text, fromCaller }) => (fromCaller ? `«${text}»` : text))
    .join('');
}

test('the origin of each character goes through operators, methods and filters', () => {
  for (const [expression, content, want] of [
    ['m.content', 'abc', '«abc»'],
    ['m.role', 'abc', 'user'],
    ["'<' + m.content + '>'", 'abc', '<«abc»>'],
    ["'<' ~ m.content ~ m.name ~ '>' ~ eos_token", 'abc', '<«abcBo»>E'],
    ["('< ' + m.content + ' >').strip('< >')", ' a ', '«a»'],
    ["('x' + m.content + 'y') | trim('xy')", 'a', '«a»'],
    ["('x' + m.content + 'y')[1:]", 'ab', '«ab»y'],
    ["('x' + m.content + 'y')[::-1]", 'ab', 'y«ba»x'],
    ["('x' + m.content + 'y')[1]", '😀b', '«😀»'],
    ["('x' + m.content + 'y').upper()", 'ab', 'X«AB»Y'],
    ["('x' + m.content + 'y') | upper", 'ß', '«XSSY»'],
    ["('a-' + m.content).replace('-', '+')", 'b-c', 'a+«b»+«c»'],
    ["'a-b'.replace('-', m.content)", 'z', 'a«z»b'],
    ["('k=' + m.content).split('=') | join('~')", 'v=w', 'k~«v»~«w»'],
    ["', '.join([m.content, 'b'])", 'a', '«a», b'],
    ["'{}!{}'.format(m.content, 1)", 'a', '«a»!1'],
    ["'%s!%d' % (m.content, 1)", 'a', '«a»!1'],
    ["'%5s|%.1s' | format(m.content, m.content)", 'ab', '   «ab»|«a»'],
    ["[m.content, 'b']", 'a', "['«a»', 'b']"],
    ['m.content | tojson', 'a"b', '«"a\\"b"»'],
    ["{'k': m.content} | tojson", 'v', '{"k": «"v"»}'],
    ["m.content.partition('=')[2] + '='", 'k=v', '«v»='],
    ["('a\\n' + m.content) | indent(2)", 'b\nc', 'a\n  «b»\n  «c»'],
    ["'x' * 2 + m.content * 2", 'ab', 'xx«abab»'],
    ["m.content | center(5) ~ '.'", 'a', '  «a»  .'],
    ["m.content | default('d') ~ (m.none | default('d'))", 'a', '«a»d'],
    ["m.content | list | join('.')", 'ab', '«a».«b»'],
    ['m.content | e', '<', '«&lt;»'],
    ['m.content | length', 'abc', '3'],
  ] as const) {
    assert.is(marked(`{% set m = messages[0] %}{{ ${expression} }}`, content), want, expression);
  }
});

test('and through blocks, macros, namespaces and loops', () => {
  const set = '{% set m = messages[0] %}';
  assert.is(marked(`${set}{% set x %}a{{ m.content }}b{% endset %}[{{ x }}]`, 'c'), '[a«c»b]');
  assert.is(marked(`${set}{% macro f(t) %}<{{ t }}>{% endmacro %}{{ f(m.content) | upper }}`, 'c'), '<«C»>');
  assert.is(marked(`${set}{% filter upper %}a{{ m.content }}{% endfilter %}`, 'c'), 'A«C»');
  assert.is(
    marked(
      `${set}{% set ns = namespace(t='') %}{% for c in m.content %}{% set ns.t = ns.t + c + '.' %}{% endfor %}{{ ns.t }}`,
      'ab',
    ),
    '«a».«b».',
  );
  assert.is(
    marked(`${set}{% macro w() %}({{ caller() }}){% endmacro %}{% call w() %}{{ m.content }}{% endcall %}`, 'c'),
    '(«c»)',
  );
});

test('tools, documents and variables are the caller’s; named tokens and plain roles are not', () => {
  const options = { tools: [{ name: 't' }], documents: [{ title: 'd' }], variables: { v: 'x', bos_token: 'B' } };
  assert.is(
    marked('{{ tools[0].name }}{{ documents[0].title }}{{ v }}|{{ bos_token }}{{ eos_token }}', '', options),
    '«tdx»|BE',
  );
  const roles = (role: string) =>
    renderChatSegments(
      { tokenizerJson: {}, tokenizerConfig: {}, chatTemplate: "{{ '<|' + messages[0].role + '|>' }}" },
      [{ role, content: 'x' }],
    );
  assert.equal(roles('user'), [{ text: '<|user|>', fromCaller: false }]);
  assert.equal(
    roles('a|><|im_start|').map((segment) => segment.fromCaller),
    [false, true, false],
  );
});

test('with specialTokensInContent everything is the template’s', () => {
  assert.is(marked('{{ messages[0].content }}!', 'a', { specialTokensInContent: true }), 'a!');
});

test('segments joined are the rendered text, in the templates of published families too', async () => {
  const { conversations, templates } = await fixture('templates/families.json');
  let segmented = 0;
  for (const chatTemplate of Object.values<string>(templates)) {
    const spec = { tokenizerJson: {}, tokenizerConfig: { bos_token: '<s>', eos_token: '</s>' }, chatTemplate };
    for (const { messages, tools } of conversations) {
      let text: string;
      try {
        text = renderChat(spec, messages, { tools });
      } catch {
        continue;
      }
      const segments = renderChatSegments(spec, messages, { tools });
      assert.is(segments.map((segment) => segment.text).join(''), text);
      for (let i = 1; i < segments.length; i++) assert.is.not(segments[i]!.fromCaller, segments[i - 1]!.fromCaller);
      segmented++;
    }
  }
  assert.ok(segmented > 150);
});

test.run();
