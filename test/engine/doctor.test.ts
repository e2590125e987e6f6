/** What there is for computing, found out and measured in a worker of its own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasRelaxedSimd } from '../../src/device/wasm/load-kernels.ts';
import { diagnosisRows, doctor } from '../../src/doctor.ts';
import { host } from '../../src/runtime/host/host.ts';
import { laneCount } from '../../src/runtime/host/lane-count.ts';
import { onGpu } from '../device/devices.ts';
import { rejects } from '../errors.ts';

const on = await host();
const found = await doctor();

test('it says exactly what it promises, as plain data', () => {
  assert.equal(Object.keys(found), ['host', 'simd', 'lanes', 'adapters', 'rates', 'auto']);
  assert.equal(JSON.parse(JSON.stringify(found)), found);
  for (const adapter of found.adapters) {
    assert.equal(Object.keys(adapter), ['name', 'fallback', 'features', 'limits']);
    assert.ok(adapter.limits['maxStorageBufferBindingSize']! >= 2 ** 27);
  }
});

test('host, SIMD and lanes are what engines get', () => {
  assert.is(found.host.name, on.name);
  assert.is(found.host.sharedMemory, on.sharedMemory);
  assert.match(found.host.version, /\d/);
  assert.equal(found.host.missingHeaders.length, on.name === 'browser' && !on.sharedMemory ? 2 : 0);
  assert.is(found.simd, hasRelaxedSimd() ? 'relaxed' : 'plain');
  assert.is(found.lanes, laneCount('auto', on));
});

test('rates are measured; of a GPU where there is one', () => {
  const { wasmProduct, wasmRead, gpuProduct, gpuFault } = found.rates;
  assert.ok(wasmProduct > 0.05 && wasmProduct < 1e5, `${wasmProduct}`);
  assert.ok(wasmRead > 0.01 && wasmRead < 1e4, `${wasmRead}`);
  if (onGpu) assert.ok(found.adapters.length > 0);
  if (found.adapters.length === 0) assert.equal([gpuProduct, gpuFault], [null, null]);
  else assert.ok(gpuProduct! > 0, `${gpuFault}`);
});

test('a program that plays a GPU is seen to be one, and auto does not take it', () => {
  if (onGpu) assert.ok(found.adapters[0]!.fallback, found.adapters[0]!.name);
  for (const { gpuFrom, why } of Object.values(found.auto)) {
    assert.is(gpuFrom, null);
    assert.match(why, found.adapters.length === 0 ? 'no GPU' : /program on the CPU|It is not settled yet/);
  }
});

test('for people: a row for each, and what is missing', () => {
  const rows = diagnosisRows(found);
  for (const name of ['host', 'SIMD', 'lanes', 'GPU', 'CPU', 'auto'])
    assert.ok(
      rows.some(([own]) => own === name),
      name,
    );
  const plain = { ...found.host, sharedMemory: false, missingHeaders: ['Some-Header: x'] };
  assert.ok(diagnosisRows({ ...found, host: plain }).some(([, text]) => text.includes('Some-Header: x')));
  const auto = { answering: { gpuFrom: 1e8, why: 'So.' }, training: { gpuFrom: null, why: 'Not.' } };
  const told = diagnosisRows({ ...found, auto }).map(([, text]) => text);
  assert.ok(told.includes('answering on the GPU for models of 100 million parameters and more. So.'));
  assert.ok(told.includes('training on the CPU. Not.'));
});

test('it is refused what it does not take, and hears an abort', async () => {
  await rejects('E_ARGUMENT', () => doctor({ lanes: 2 } as never));
  await rejects('E_ABORTED', () => doctor({ signal: AbortSignal.abort() }));
});

test.run();
