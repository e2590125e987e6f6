// hosts: node — the environment of a process, and Dawn's package
/** What Dawn is given beside the rest is known by name: it says nothing to a name that it does not know, and measures without it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allAdapters, requestAdapter } from '../../src/device/webgpu/adapter.ts';
import { rejects } from '../errors.ts';

test('a name that is not known is refused, wherever it stands', async () => {
  process.env['ESPALIER_DAWN_FEATURES'] = 'disable_robustness,disable_robustnes';
  for (const ask of [requestAdapter, allAdapters]) {
    const error = await rejects('E_ARGUMENT', ask);
    assert.is(error.message, 'ESPALIER_DAWN_FEATURES has disable_robustnes.');
    assert.is(error.hint, 'Those known are disable_robustness.');
  }
});

test.run();
