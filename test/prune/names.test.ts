/** Files that are given as bytes have no path: what is wrong with one of several says which. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/local.ts';
import { rejects } from '../errors.ts';
import { bytesOf } from '../train/texts.ts';
import { run, strangerFiles } from './jobs.ts';

test('what is wrong with one of several files that are given as bytes is said with its name', async () => {
  const broken = { ...(await strangerFiles()), 'config.json': new Blob(['{']) };
  const { 'tokenizer.json': _, ...mute } = await strangerFiles();
  const text = bytesOf('{"prompt":');
  const wrong = [
    ['forget', 'E_DATA_INVALID', { forget: text }],
    ['retain', 'E_DATA_INVALID', { retain: text }],
    ['unseen', 'E_DATA_INVALID', { unseen: text }],
    ['base', 'E_CONFIG_INVALID', { base: broken }],
    ['reference', 'E_CONFIG_INVALID', { reference: broken }],
    ['reference', 'E_FILE_NOT_FOUND', { reference: mute }],
    [
      'earlier',
      'E_CONFIG_INVALID',
      { earlier: { 'alter.json': new Uint8Array(3), 'alter.safetensors': new Uint8Array(8) } },
    ],
  ] as const;
  for (const [name, code, options] of wrong) {
    const error = await rejects(code, () => run(options));
    assert.match(error.message, new RegExp(`^${name}: `));
    // as it was thrown
    assert.is((error.cause as EspalierError).code, code);
  }
});

test('one adapter of two says its place, and one alone only what is wrong', async () => {
  const wrong = { 'adapter_config.json': new Blob(['{']), 'adapter_model.safetensors': new Uint8Array(8) };
  const model = await strangerFiles();
  const two = await rejects('E_CONFIG_INVALID', () =>
    openLocal(model, { adapters: [{ from: wrong }, { from: wrong }] }),
  );
  assert.match(two.message, /^adapter 1: /);
  const one = await rejects('E_CONFIG_INVALID', () => openLocal(model, { adapters: [{ from: wrong }] }));
  assert.is(one.message, two.message.slice('adapter 1: '.length));
});

test.run();
