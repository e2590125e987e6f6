/** What the example makes of annotated utterances: objects, and meanings in words. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { asJson, asWords, meaningsOf } from '../../examples/free-answers/annotated.ts';

const FILE = [
  'answerid\tscenario\tintent\ttext\tannotated',
  '1\talarm\tset\twake me at six\twake me at [time : six]',
  '2\tlists\tadd_item\tput milk and tea down\tput [item : milk] and [ item : tea ] down\r',
  '',
  '3\tgeneral\tjoke\ttell a joke\ttell a joke',
].join('\n');

test('slots become members, and several of a name a list', () => {
  const meanings = meaningsOf(FILE);
  assert.equal(
    meanings.map(({ text }) => text),
    ['wake me at six', 'put milk and tea down', 'tell a joke'],
  );
  assert.equal(meanings.map(asJson), [
    '{"intent":"alarm_set","time":"six"}',
    '{"intent":"lists_add_item","item":["milk","tea"]}',
    '{"intent":"general_joke"}',
  ]);
  assert.equal(meanings.map(asWords), [
    'intent[alarm set], time[six]',
    'intent[lists add item], item[milk], item[tea]',
    'intent[general joke]',
  ]);
});

test('a file without the columns is refused', () => {
  assert.throws(() => meaningsOf('a\tb\n1\t2\n'), /no column scenario/);
});

test.run();
