import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folderTokenizer } from '../../src/checkpoint/safetensors/tokenizer.ts';
import { EspalierError } from '../../src/errors.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const text = (value: string) => new TextEncoder().encode(value);

async function folder(files: Record<string, Uint8Array>) {
  return folderTokenizer(await openModelFiles(files));
}

test('the chat template is the one that transformers takes', async () => {
  const of = async (files: Record<string, Uint8Array>) =>
    (await folder({ 'tokenizer.json': json({}), ...files })).chatTemplate;
  const config = (chat_template: unknown) => ({ 'tokenizer_config.json': json({ chat_template }) });
  const named = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: 'plain' },
  ];
  assert.is(await of({}), null);
  assert.is(await of(config('one')), 'one');
  assert.is(await of(config(named)), 'plain');
  assert.is(await of(config({ default: 'plain', rag: 'x' })), 'plain');
  assert.is(await of(config([{ name: 'rag', template: 'x' }])), null);
  assert.is(await of(config([null, 3, { name: 'default', template: 4 }])), null);
  assert.is(await of({ ...config(named), 'chat_template.jinja': text('file') }), 'file');
  assert.is(await of({ 'chat_template.json': json({ chat_template: 'old' }) }), 'old');
  assert.is(await of({ ...config('one'), 'chat_template.json': json({ chat_template: 'old' }) }), 'one');
});

test('several chat templates keep their names', async () => {
  const of = async (files: Record<string, Uint8Array>) => {
    const { chatTemplate, namedTemplates } = await folder({ 'tokenizer.json': json({}), ...files });
    return [chatTemplate, Object.fromEntries(namedTemplates ?? [])];
  };
  const list = [
    { name: 'default', template: 'plain' },
    { name: 'tool_use', template: 'tools' },
  ];
  const config = { 'tokenizer_config.json': json({ chat_template: list }) };
  assert.equal(await of(config), ['plain', { tool_use: 'tools' }]);
  // files, of whatever names, stand in place of the configuration
  const rag = { 'additional_chat_templates/rag.jinja': text('rag'), 'additional_chat_templates/notes.txt': text('x') };
  assert.equal(await of({ ...config, ...rag }), [null, { rag: 'rag' }]);
  assert.equal(await of({ ...config, ...rag, 'chat_template.jinja': text('file') }), ['file', { rag: 'rag' }]);
  const many = Object.fromEntries(
    Array.from({ length: 65 }, (_, i) => [`additional_chat_templates/${i}.jinja`, text('')]),
  );
  const error = await of(many).catch((reason: unknown) => reason);
  assert.is((error as EspalierError).code, 'E_TOKENIZER_INVALID');
});

test('a folder with an older form of a tokenizer says which, and what to do', async () => {
  for (const name of ['tokenizer.model', 'merges.txt', 'vocab.txt', 'tekken.json']) {
    const error = await folder({ [name]: text('x') }).catch((reason: unknown) => reason);
    assert.ok(error instanceof EspalierError);
    assert.is(error.code, 'E_FILE_NOT_FOUND');
    assert.match(error.message, name);
    assert.match(error.hint, 'save_pretrained');
  }
  const error = await folder({ 'config.json': json({}) }).catch((reason: unknown) => reason);
  assert.match((error as Error).message, 'tokenizer.json');
});

test.run();
