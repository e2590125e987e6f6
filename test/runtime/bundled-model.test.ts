import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/open-local.ts';
import { bundledModel } from '../../src/runtime/files/bundled-model.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

test('the model in the package has a name that works everywhere', async () => {
  const model = await openLocal('espalier:tiny', { cache: null });
  const same = await openLocal(await modelTarget('models/nano-base'));
  try {
    assert.is(model.name, 'espalier:tiny');
    const prompt = 'Once upon a time';
    assert.is(
      (await model.generate(prompt, { maxTokens: 8 }).result()).text,
      (await same.generate(prompt, { maxTokens: 8 }).result()).text,
    );
  } finally {
    model.close();
    same.close();
  }
});

test('another name says which there are', async () => {
  for (const name of ['espalier:', 'espalier:large', 'espalier:__proto__', 'espalier:tiny/config.json']) {
    const error = await rejects('E_ARGUMENT', () => openModelFiles(name));
    assert.match(error.hint, 'espalier:tiny');
  }
});

test('an app whose bundler has left the package behind is told what to do', async () => {
  const address = new URL(import.meta.url);
  if (address.protocol !== 'file:') return; // a page has the package at its own address
  const error = await rejects('E_FILE_NOT_FOUND', async () => bundledModel('espalier:tiny', false));
  assert.match(error.hint, 'dist/models');
});

test.run();
