/** Weights that are rounded while they are read: the bytes, and what the model computes with them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import { quantise } from '../../src/checkpoint/quantised/quantise.ts';
import { quantisedCheckpoint } from '../../src/checkpoint/quantised/quantised-checkpoint.ts';
import type { Checkpoint, TensorEntry } from '../../src/checkpoint/types.ts';
import { openDevice } from '../../src/device/open-device.ts';
import { openLocal } from '../../src/open-local.ts';
import { safetensors } from '../checkpoint/build.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { list, modelTarget, readBytes } from '../files.ts';
import { logitsOf, tinyDecoder, tinyReference, tinyTarget } from './tiny.ts';

const NANO = 'models/nano-base';
const LINEAR = /_proj\.weight$/;
const TYPES = ['q8_0', 'q4_0'] as const;
const worst = new Worst();
const checkpoint = await openCheckpoint(await modelTarget(NANO));
test.after(() => worst.print());
test.after(() => checkpoint.close());

async function bytesOf({ source, offset, byteLength }: TensorEntry): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  await source.readInto(offset, bytes);
  return bytes;
}

async function valuesOf(entry: TensorEntry): Promise<Float32Array> {
  return dequantise(
    entry.type,
    await bytesOf(entry),
    entry.shape.reduce((product, n) => product * n, 1),
  );
}

/** The model as f32 in memory, its linear layers as their rounded blocks say. */
async function written(of: Checkpoint): Promise<Record<string, Uint8Array>> {
  const names = (await list(NANO)).filter((name) => !name.endsWith('.safetensors'));
  const files = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readBytes(`${NANO}/${name}`)])),
  );
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = {};
  const parts: Float32Array[] = [];
  let at = 0;
  for (const [name, entry] of of.tensors) {
    const values = await valuesOf(entry);
    header[name] = { dtype: 'F32', shape: [...entry.shape], data_offsets: [at, at + 4 * values.length] };
    at += 4 * values.length;
    parts.push(values);
  }
  const file = safetensors(header, at);
  let to = file.length - at;
  for (const values of parts) {
    file.set(new Uint8Array(values.buffer), to);
    to += 4 * values.length;
  }
  return { ...files, 'model.safetensors': file };
}

for (const type of TYPES) {
  test(`${type}: linear layers are rounded, whatever pieces are read, and nothing else`, async () => {
    const rounded = quantisedCheckpoint(checkpoint, type);
    let linear = 0;
    for (const [name, entry] of rounded.tensors) {
      const before = checkpoint.tensors.get(name)!;
      if (!LINEAR.test(name)) {
        assert.is(entry, before, name);
        continue;
      }
      linear++;
      assert.is(entry.type, type);
    }
    assert.is(linear, 7 * checkpoint.config.nLayers);
    const name = 'model.layers.3.mlp.down_proj.weight';
    const whole = quantise(type, await valuesOf(checkpoint.tensors.get(name)!));
    const entry = rounded.tensors.get(name)!;
    assert.equal(await bytesOf(entry), whole);
    for (const [from, to] of [
      [0, 1],
      [5, 40],
      [1000, 5017],
      [whole.length - 3, whole.length],
    ] as const) {
      const piece = new Uint8Array(to - from);
      await entry.source.readInto(from, piece);
      assert.equal(piece, whole.subarray(from, to));
    }
    // what is of the type already is not rounded again
    assert.is(quantisedCheckpoint(rounded, type).tensors.get(name), entry);
    // and of another it is
    const again = quantisedCheckpoint(rounded, 'q4_0').tensors.get(name)!;
    assert.equal(await bytesOf(again), quantise('q4_0', await valuesOf(entry)));
  });

  test(`${type}: predictions are those of a model that holds the rounded weights`, async () => {
    const rounded = quantisedCheckpoint(checkpoint, type);
    const one = await openLocal(await modelTarget(NANO), { quantise: type, precision: 'exact' });
    const other = await openLocal(await written(rounded), { precision: 'exact' });
    const plain = await openLocal(await modelTarget(NANO), { precision: 'exact' });
    const text = 'Once upon a time there was a little dog. He lived in a house with a cat.';
    const [a, b, c] = [await one.score(text), await other.score(text), await plain.score(text)];
    const from = (x: typeof a, y: typeof a) =>
      x.slice(1).reduce((most, { logprob }, i) => Math.max(most, Math.abs(logprob! - y[i + 1]!.logprob!)), 0);
    assert.ok(worst.within(`log-probability, ${type}`, from(a, b), 2e-5));
    assert.ok(from(a, c) > 1e-3, 'it is not the unrounded one');
    assert.not.equal(one.identity, plain.identity);
    for (const model of [one, other, plain]) model.close();
  });
}

test('rows that are no whole blocks stay, and a note says so', () => {
  const name = 'model.layers.0.mlp.up_proj.weight';
  const entry = checkpoint.tensors.get(name)!;
  const odd = { ...entry, shape: [1, 33], byteLength: 66 };
  const rounded = quantisedCheckpoint({ ...checkpoint, tensors: new Map([[name, odd]]) }, 'q8_0');
  assert.is(rounded.tensors.get(name), odd);
  assert.match(rounded.notes.at(-1)!, /^1 linear layers are not rounded to q8_0/);
});

for (const name of [
  'moe-mixtral',
  'moe-qwen2',
  'moe-qwen3-fused',
  'moe-granite',
  'moe-espalier-dots1',
  'gguf-llama-q4_k',
]) {
  test(`${name}: experts are rounded like other layers, routers stay`, async () => {
    const target = await tinyTarget(name);
    const stored = await openCheckpoint(target);
    const rounded = quantisedCheckpoint(stored, 'q8_0');
    const changed = [...rounded.tensors].filter(([key, entry]) => entry !== stored.tensors.get(key));
    const fits = [...stored.tensors].filter(([key, { shape }]) => LINEAR.test(key) && shape[1]! % 32 === 0);
    assert.equal(changed.map(([key]) => key).sort(), fits.map(([key]) => key).sort());
    assert.ok(changed.length > 0);
    for (const [key, entry] of changed) {
      const [was, is] = [await valuesOf(stored.tensors.get(key)!), await valuesOf(entry)];
      const largest = was.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const error = was.reduce((most, x, i) => Math.max(most, Math.abs(x - is[i]!)), 0);
      // half of a step of the largest value, and f16's rounding of the scale
      assert.ok(worst.within('weight, in half steps', error / (largest / 254), 1.13), key);
    }
    const device = await openDevice();
    const decoder = await tinyDecoder(name, device, 'exact', (checkpoint) => quantisedCheckpoint(checkpoint, 'q8_0'));
    const cache = decoder.cache();
    const { ids, logits } = await tinyReference(name);
    const got = await logitsOf(decoder, cache, ids);
    const spread = logits.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const off = got.reduce((most, x, i) => Math.max(most, Math.abs(x - logits[i]!)), 0);
    assert.ok(off > 0 && worst.within('logits, of the largest', off / spread, 0.1), `${off} of ${spread}`);
    cache.dispose();
    decoder.dispose();
    device.close();
    await stored.close();
  });
}

test('a type that nothing is rounded to is refused', async () => {
  await rejects('E_ARGUMENT', async () => openLocal(await modelTarget(NANO), { quantise: 'q4_k' as never }));
});

test.run();
