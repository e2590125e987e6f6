/** How shots and queries are written. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DATA_FORMATS } from '../../src/datasets/data.ts';
import {
  namedTemplate,
  renderQuery,
  renderShot,
  TEMPLATES,
  templateOf,
  verbalise,
} from '../../src/datasets/templates.ts';
import { code } from '../errors.ts';

const galileo = { input: 'Who was Galileo ?', output: 'human' };

test('a shot and a query of TREC, as Parallel Context Windows writes them', () => {
  const { trec } = TEMPLATES;
  assert.is(renderShot(trec, galileo), 'Question: Who was Galileo ?\nType: human\n==\n');
  assert.is(renderQuery(trec, 'Where ?'), 'Question: Where ?\nType:');
});

test('a shot begins with the query of its input', () => {
  for (const template of Object.values(TEMPLATES)) {
    assert.ok(renderShot(template, galileo).startsWith(`${renderQuery(template, galileo.input)} human\n`));
    assert.not(/\s$/.test(renderQuery(template, 'x')));
  }
});

test('every format has a template, and so have names and texts', () => {
  const names = DATA_FORMATS.map((format) => [format, templateOf(format).input, templateOf(format).output]);
  assert.equal(names, [
    ['trec', 'Question:', 'Type:'],
    ['trec-fine', 'Question:', 'Type:'],
    ['banking77', 'query:', 'intent:'],
    ['clinc150', 'utterance:', 'intent:'],
    ['hwu64', 'utterance:', 'intent:'],
    ['sst2', 'Review:', 'Sentiment:'],
    ['gsm8k', 'Question:', 'Answer:'],
    ['mgsm', 'Question:', 'Answer:'],
    ['jsonl', 'Input:', 'Output:'],
  ]);
  assert.is(namedTemplate('qa'), TEMPLATES.qa);
  assert.equal(namedTemplate('Q:|A:'), { input: 'Q:', output: 'A:', separator: '==\n' });
  assert.equal(namedTemplate('Q:|A:|\\n'), { input: 'Q:', output: 'A:', separator: '\n' });
  for (const text of ['nothing', '', 'Q:', '|A:', 'Q:|', 'Q: |A:', 'a|b|c|d', 'toString']) {
    assert.throws(() => namedTemplate(text), code('E_ARGUMENT'), text);
  }
});

test('labels as words', () => {
  assert.is(verbalise('card_arrival'), 'card arrival');
  assert.is(verbalise(' Refund_not_showing_up '), 'Refund not showing up');
  assert.is(verbalise('__a__b'), 'a b');
});

test.run();
