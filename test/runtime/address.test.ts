import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressOf, hubName } from '../../src/runtime/hub/address.ts';
import { code } from '../errors.ts';

test('what is an address, and of what', () => {
  const hub = (repo: string, revision?: string, file?: string) => ({ kind: 'hub', repo, revision, file });
  const endpoint = 'https://huggingface.co';
  const name = (text: string) => {
    const { kind, repo, revision } = hubName(text)!;
    return { kind, repo, revision, file: undefined };
  };
  assert.equal(name('owner/name'), hub('owner/name'));
  assert.equal(name('Qwen/Qwen2.5-0.5B@refs/pr/1'), hub('Qwen/Qwen2.5-0.5B', 'refs/pr/1'));
  for (const path of [
    'name',
    './a/b',
    '../b',
    '/a/b',
    'a/b/c',
    'a/b.gguf',
    'models/x.safetensors',
    'a\\b',
    'a/',
    'a b/c',
    '',
  ]) {
    assert.is(hubName(path), null, path);
  }
  for (const bad of ['o/n@..', 'o/n@a/../b', 'o/n@a b', 'o/n@a?b'])
    assert.throws(() => hubName(bad), code('E_ARGUMENT'));
  const found: [string, object][] = [
    ['hf://o/n', hub('o/n')],
    ['HF://o/n/', hub('o/n')],
    ['hf://o/n@v1.0/a/b.gguf', hub('o/n', 'v1.0', 'a/b.gguf')],
    ['hf://o/n@refs%2Fpr%2F1', hub('o/n', 'refs/pr/1')],
    [`${endpoint}/o/n/`, hub('o/n')],
    [`${endpoint}/o/n/blob/main/a%20b.gguf`, hub('o/n', 'main', 'a b.gguf')],
  ];
  for (const [text, want] of found) assert.equal(addressOf(text, endpoint), want, text);
  for (const web of [
    'https://x.org/a.gguf?sig=1',
    'http://x.org/',
    'https://x.org/o/n/',
    'https://x.org/m.safetensors#x',
  ]) {
    assert.is(addressOf(web, endpoint).kind, 'web', web);
  }
  const bad = [
    'hf://o',
    'hf://o/n@a%2F..',
    'hf://o/n@%zz',
    'ftp://x/a.gguf',
    'https://x.org/a.bin',
    'https://a:b@x.org/a.gguf',
    'http://[',
  ];
  for (const text of bad) assert.throws(() => addressOf(text, endpoint), code('E_ARGUMENT'), text);
});

test.run();
