/** The check of options: values, names, what is no object, and messages that say what is meant. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openOptions } from '../../src/engine/model/open.ts';
import { engineOptions } from '../../src/engine/options.ts';
import { EspalierError } from '../../src/errors.ts';
import { generateOptions, type SamplingOptions, samplingOptions } from '../../src/model/generate/options.ts';
import { scoreOptions } from '../../src/model/options.ts';
import { checked, filled } from '../../src/options/check.ts';
import { nearest } from '../../src/options/suggest.ts';

function refused(schema: object, options: unknown): EspalierError {
  try {
    checked(schema as never, options, 'generate');
  } catch (error) {
    assert.instance(error, EspalierError);
    assert.is((error as EspalierError).code, 'E_ARGUMENT');
    return error as EspalierError;
  }
  throw new Error('It was taken.');
}
const says = (schema: object, options: unknown): string => {
  const { message, hint } = refused(schema, options);
  return `${message} ${hint}`;
};

test('what is given comes back, and nothing else', () => {
  const signal = new AbortController().signal;
  const stop = ['a', 'b'];
  const got = checked(generateOptions, { maxTokens: 5, topK: undefined, stop, signal }, 'generate');
  assert.equal(Object.keys(got).sort(), ['maxTokens', 'signal', 'stop']);
  assert.is(got.signal, signal);
  assert.equal(got.stop, stop);
  assert.is.not(got.stop, stop); // what the caller does with his list later changes nothing
  assert.equal(checked(generateOptions, undefined, 'generate'), {});
  assert.equal(checked(generateOptions, Object.create(null), 'generate'), {});
  assert.is(checked(generateOptions, Object.create({ maxTokens: 7 }), 'generate').maxTokens, 7);
  assert.is(filled<SamplingOptions, typeof samplingOptions>(samplingOptions, { topK: 3 }).topP, 1);
  assert.is(filled<SamplingOptions, typeof samplingOptions>(samplingOptions, { topK: 3 }).topK, 3);
});

test('names of other programs, other spellings and slips of the hand are told the right name', () => {
  const meant: [string, object, string][] = [
    ['max_new_tokens', generateOptions, 'maxTokens'],
    ['maxNewTokens', generateOptions, 'maxTokens'],
    ['max_tokens', generateOptions, 'maxTokens'],
    ['max-tokens', generateOptions, 'maxTokens'],
    ['maxtokens', generateOptions, 'maxTokens'],
    ['n_predict', generateOptions, 'maxTokens'],
    ['max_completion_tokens', generateOptions, 'maxTokens'],
    ['top_k', generateOptions, 'topK'],
    ['topk', generateOptions, 'topK'],
    ['top_p', generateOptions, 'topP'],
    ['min_p', generateOptions, 'minP'],
    ['temp', generateOptions, 'temperature'],
    ['temprature', generateOptions, 'temperature'],
    ['tempreature', generateOptions, 'temperature'],
    ['repeat_penalty', generateOptions, 'repetitionPenalty'],
    ['random_seed', generateOptions, 'seed'],
    ['sede', generateOptions, 'seed'],
    ['stop_sequences', generateOptions, 'stop'],
    ['stops', generateOptions, 'stop'],
    ['skip_special_tokens', generateOptions, 'showSpecialTokens'],
    ['abortSignal', generateOptions, 'signal'],
    ['precison', openOptions, 'precision'],
    ['presicion', openOptions, 'precision'],
    ['dtype', openOptions, 'precision'],
    ['nCtx', openOptions, 'contextLength'],
    ['n_ctx', openOptions, 'contextLength'],
    ['context_length', openOptions, 'contextLength'],
    ['threads', openOptions, 'lanes'],
    ['num_threads', openOptions, 'lanes'],
    ['progress_callback', openOptions, 'onProgress'],
    ['onprogress', openOptions, 'onProgress'],
    ['cache_dir', openOptions, 'cache'],
    ['token', openOptions, 'hub.token'],
    ['revision', openOptions, 'hub.revision'],
    ['local_files_only', openOptions, 'hub.offline'],
    ['memory_limit', engineOptions, 'memoryLimit'],
    ['tsallis', scoreOptions, 'tsallisOrder'],
  ];
  for (const [name, schema, want] of meant) {
    const { message, hint } = refused(schema, { [name]: 1 });
    assert.is(message, `There is no option ${name}; did you mean ${want}?`);
    assert.match(hint, /^generate takes \w+, /);
  }
  assert.match(says(openOptions, { hub: { retrys: 1 } }), 'no option hub.retrys; did you mean retries?');
});

test('a name that is like none is told all', () => {
  const { message, hint } = refused(generateOptions, { qwertyuiop: 1 });
  assert.is(message, 'There is no option qwertyuiop.');
  for (const name of Object.keys(generateOptions)) assert.match(hint, name);
  assert.is(nearest('__proto__', ['proto']), 'proto');
  assert.is(nearest('', ['a']), null);
  assert.is(nearest('x'.repeat(1e6), Object.keys(generateOptions)), null);
  assert.match(says(generateOptions, JSON.parse('{"__proto__": 1}')), 'no option __proto__');
  assert.match(says(generateOptions, { constructor: 1 }), 'no option constructor');
});

test('values: NaN, infinity, text, null, boxes, lists and functions are not taken for numbers', () => {
  const wrong: unknown[] = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '5',
    '',
    null,
    true,
    5n,
    [5],
    {},
    () => 5,
    Symbol('5'),
    Object(5),
    new Date(5),
    { valueOf: () => 5 },
    -1,
    1.5,
    2 ** 53,
  ];
  for (const value of wrong) {
    const said = says(generateOptions, { maxTokens: value });
    assert.match(said, /^maxTokens is .+\. Give an integer of at least 1\.$/);
  }
  assert.is(says(generateOptions, { maxTokens: Number.NaN }), 'maxTokens is NaN. Give an integer of at least 1.');
  assert.match(says(generateOptions, { maxTokens: '5' }), 'maxTokens is "5".');
  assert.match(says(generateOptions, { maxTokens: Object(5) }), 'maxTokens is a Number object.');
  assert.match(says(generateOptions, { topP: 0 }), 'topP is 0. Give a number above 0 and up to 1.');
  assert.match(says(generateOptions, { temperature: 101 }), 'Give a number from 0 (greedy) to 100.');
  for (const value of [0, 1, 'yes', null]) refused(generateOptions, { stopAtEos: value });
});

test('memoryLimit and lanes', () => {
  for (const memoryLimit of [Number.NaN, 'x', 0, -1, 1e9 + 0.5, null, 2n ** 31n, Number.POSITIVE_INFINITY, [2 ** 30]])
    assert.match(says(engineOptions, { memoryLimit }), /^memoryLimit is .*4 GiB/);
  // a wasm device refuses what is more than it can have: test/device/open-device.test.ts
  for (const memoryLimit of [2 ** 20, 2 ** 30, 2 ** 32, 2 ** 36])
    assert.is(checked(engineOptions, { memoryLimit }, 'x').memoryLimit, memoryLimit);
  for (const lanes of [0, 1.5, 'two', 1e9, Number.NaN, null, '2', -1, {}])
    assert.match(says(engineOptions, { lanes }), /^lanes is .+\. Give an integer from 1 to 256, or "auto"\.$/);
  for (const lanes of [1, 256, 'auto'] as const) assert.is(checked(engineOptions, { lanes }, 'x').lanes, lanes);
  for (const contextLength of [0, 1.5, '2048', Number.NaN]) refused(openOptions, { contextLength });
  for (const precision of ['int4', 42, 'INT8', null, '', 8]) {
    assert.match(says(openOptions, { precision }), /^precision is .+ Give "int8", "int16" or "exact"\.$/);
  }
});

test('stop is a text or a list of texts', () => {
  assert.is(checked(generateOptions, { stop: 'was' }, 'x').stop, 'was');
  assert.equal(checked(generateOptions, { stop: [] }, 'x').stop, []);
  assert.match(says(generateOptions, { stop: [5] }), 'stop[0] is 5. Give a text of at least one character.');
  assert.match(says(generateOptions, { stop: ['a', ''] }), 'stop[1] is "".');
  // biome-ignore lint/suspicious/noSparseArray: it is what is tried
  assert.match(says(generateOptions, { stop: ['a', , 'b'] }), 'stop[1] is missing.');
  for (const stop of ['', 5, null, {}, /x/, new Set(['a'])]) assert.match(says(generateOptions, { stop }), /^stop is /);
});

test('signals and callbacks', () => {
  for (const signal of [new AbortController(), {}, 'abort', null, () => {}, { aborted: true }])
    assert.match(says(generateOptions, { signal }), /^signal is .*an AbortSignal/);
  for (const onProgress of [null, 'log', {}, 5]) assert.match(says(openOptions, { onProgress }), 'Give a function.');
});

test('options that are no object, or that throw when they are looked at', () => {
  for (const options of [
    null,
    5,
    'maxTokens',
    [],
    [5],
    () => {},
    new Map([['maxTokens', 5]]),
    new Uint8Array(3),
    true,
  ]) {
    assert.match(says(generateOptions, options), /^The options of generate are .+ Give an object, or none\.$/);
  }
  assert.match(says(generateOptions, new AbortController().signal), 'an AbortSignal');
  const fails = () => {
    throw new Error('no');
  };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  for (const options of [
    {
      get maxTokens() {
        return fails();
      },
    },
    new Proxy({}, { ownKeys: fails }),
    new Proxy({}, { get: fails }),
    proxy,
    { stop: new Proxy([], { get: fails }) },
    { maxTokens: proxy },
  ])
    assert.match(says(generateOptions, options), /cannot be (?:read|looked at)/);
  // read once: what is checked is what is used
  let reads = 0;
  const twice = {
    get maxTokens() {
      return ++reads > 1 ? 'x' : 5;
    },
  };
  assert.is(checked(generateOptions, twice, 'generate').maxTokens, 5);
});

test('messages stay on one line and short', () => {
  const long = `a\nb${'x'.repeat(1e6)}`;
  for (const options of [{ maxTokens: long }, { [long]: 1 }, { pool: long }]) {
    const said = says(options.pool === undefined ? generateOptions : openOptions, options);
    assert.ok(said.length < 500, said.slice(0, 300));
  }
});

test.run();
