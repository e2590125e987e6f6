// hosts: node, deno — reads the documentation
/** The tables of options in the documentation are those of the schemas, and every option has a comment that editors show. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commentsOf, DOCUMENTS, withTables } from '../../scripts/option-tables.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The formatter sets the widths of columns. */
const loose = (text: string) => text.replace(/ *\| */g, '|').replace(/-{3,}/g, '---');

for (const name of DOCUMENTS) {
  test(`${name} has the tables of the schemas`, async () => {
    const text = await readFile(root + name, 'utf8');
    assert.match(text, /<!-- (?:options|flags) [\w/ ]+ -->\n\n\|/, 'there are tables');
    assert.fixture(loose(text), loose(await withTables(text)), 'Run node --import tsx scripts/option-tables.ts.');
  });
}

test('a table that differs is seen, and a marker of nothing refused', async () => {
  const stale = '<!-- options decode -->\n\n| option |\n| --- |\n| `old` |\n\n<!-- end -->';
  const fresh = await withTables(stale);
  assert.match(fresh, '`skipSpecialTokens` | true or false | `true` |');
  assert.not.match(fresh, 'old');
  assert.is(await withTables(fresh), fresh);
  await withTables('<!-- options nothing -->\n<!-- end -->').then(assert.unreachable, (error: Error) =>
    assert.match(error.message, 'no table nothing'),
  );
});

for (const name of [
  'README.md',
  'docs/growing.md',
  'docs/hosts.md',
  'docs/showing.md',
  'docs/formats.md',
  'docs/errors.md',
]) {
  test(`${name}: programs open no folder that only a checkout has`, async () => {
    const programs = (await readFile(root + name, 'utf8')).match(/```ts\n.*?```/gs) ?? [];
    for (const program of programs) assert.not.match(program, /'models\//);
  });
}

test('what a model in a worker takes beside a table is named with it', async () => {
  const sections = (await readFile(`${root}docs/options.md`, 'utf8')).split('\n## ');
  for (const call of ['encodeChat', 'encode', 'decode'])
    assert.match(sections.find((section) => section.startsWith(`model.${call}(`))!, '`signal`', call);
});

test('comments are read from interfaces', async () => {
  const comments = await commentsOf('model/text/options/DecodeOptions');
  assert.is(comments.get('skipSpecialTokens'), 'Whether special tokens are left out of the text. Default true.');
  assert.match(comments.get('continues')!, /^Whether the ids go on from others, .+ Default false\.$/);
});

test.run();
