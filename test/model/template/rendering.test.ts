/** Templates give what transformers gives (`test/oracles/templates.py`), or are refused where it refuses them. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../../src/errors.ts';
import { type ChatMessage, renderChat } from '../../../src/model/text/chat.ts';
import type { ChatOptions } from '../../../src/model/text/options.ts';
import { sha256 } from '../../../src/runtime/files/hash.ts';
import { fixture } from '../shared-files.ts';

const NOW = new Date(2026, 2, 4, 15, 6, 7);
const TOKENS = { bos_token: '<s>', eos_token: '</s>' };

/** The text, or null where the template is refused. */
function rendered(chatTemplate: string, messages: readonly ChatMessage[], options: ChatOptions): string | null {
  try {
    return renderChat({ tokenizerJson: {}, tokenizerConfig: TOKENS, chatTemplate }, messages, { now: NOW, ...options });
  } catch (error) {
    assert.ok(error instanceof EspalierError, String(error));
    assert.is(error.code, 'E_TEMPLATE_INVALID', chatTemplate);
    return null;
  }
}

test('expressions and blocks', async () => {
  const { messages, variables, cases } = await fixture('templates/expressions.json');
  assert.ok(cases.length > 800);
  for (const [template, text] of cases) {
    assert.is(rendered(template, messages, { variables, addGenerationPrompt: false }), text, template);
  }
});

test('powers whose last bit depends on the C library are refused', () => {
  const power = (what: string) => rendered(`{{ ${what} }}`, [{ role: 'user', content: 'x' }], {});
  // by the C library of Linux each differs from the nearest double, which JavaScript gives
  for (const what of ['2921 ** 0.5', '1000000007 ** 0.5', '995.3 ** 2', '591.7 ** -1', '1e200 ** 2', '1e-200 ** 2'])
    assert.is(power(what), null, what);
  for (const [what, text] of [
    ['2920 ** 0.5', '54.037024344425184'],
    ['995.5 ** 2', '991020.25'],
    ['591.6 ** -1', '0.0016903313049357674'],
  ] as const)
    assert.is(power(what), text, what);
});

test('templates of published families', async () => {
  const { conversations, templates, cases } = await fixture('templates/families.json');
  assert.ok(Object.keys(templates).length >= 12);
  for (const [name, i, addGenerationPrompt, want] of cases) {
    const { messages, tools, documents, ...variables } = conversations[i];
    const text = rendered(templates[name], messages, { tools, documents, variables, addGenerationPrompt });
    const what = `${name}, conversation ${i}`;
    if (want === null || typeof want === 'string') assert.is(text, want, what);
    else {
      assert.ok(text?.startsWith(want.start), what);
      assert.is(await sha256(text!), want.sha256, what);
    }
  }
});

test('a template with every kind of newline reads the same', () => {
  const lines = ['{% for m in messages %}', '<|{{ m.role }}|>', '{{ m.content }}', '{% endfor %}', ''];
  for (const newline of ['\n', '\r\n', '\r']) {
    assert.is(rendered(lines.join(newline), [{ role: 'user', content: 'hi' }], {}), '<|user|>\nhi\n');
  }
});

test('what Python prints as an address, or draws at random, is refused', () => {
  for (const template of [
    "{{ 'a'.upper }}",
    "{{ [1] | map('string') }}",
    '{{ lipsum() }}',
    '{{ [1, 2] | random }}',
    '{{ range }}',
    "{% include 'x' %}",
    '{% autoescape true %}{% endautoescape %}',
    "{{ 'a'.encode() }}",
  ]) {
    assert.is(rendered(template, [{ role: 'user', content: 'x' }], {}), null, template);
  }
});

test('messages as transformers hands them on', () => {
  const call = { type: 'function', function: { name: 'f', arguments: { a: 1 } } };
  const messages: ChatMessage[] = [
    { role: 'user', content: [{ type: 'text', text: 'one' }] },
    { role: 'assistant', content: null, tool_calls: [call], reasoning: 'hm' },
  ];
  // a null field is left out; reasoning is found under each of its names
  assert.is(
    rendered('{{ messages | tojson }}', messages, {}),
    '[{"role": "user", "content": [{"type": "text", "text": "one"}]}, {"thinking": "hm", "role": "assistant", ' +
      '"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}], "reasoning": "hm", ' +
      '"reasoning_content": "hm"}]',
  );
  assert.is(rendered('{{ messages[1].content is defined }}{{ tools }}{{ documents }}', messages, {}), 'FalseNoneNone');
  const given = { tools: [{ a: 1 }], documents: [{ title: 'T' }] };
  assert.is(rendered('{{ tools[0].a }}{{ documents[0].title }}', messages, given), '1T');
});

test.run();
