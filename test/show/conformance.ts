/** Models, shots and passes that conformance is measured with. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import type { ShotContext } from '../../src/show.ts';
import { create, onGpu, Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { modelTarget } from '../files.ts';
import { logitsOf, tinyReference } from '../model/tiny.ts';
import { tinyModel } from './models.ts';

export const worst = new Worst();
export const device: Device = await create();
export const LOGITS = 1e-5; // of the largest

const EVERY = [
  'nano-base',
  'llama-gqa',
  'qwen2',
  'qwen3',
  'llama-rope-linear',
  'llama-rope-llama3',
  'llama-rope-dynamic',
  'llama-yarn',
  'gguf-qwen2-partial-rotary',
  'gguf-llama-rope-linear',
  'gguf-llama-rope-llama3',
  'gguf-llama-yarn',
  'smollm3',
  'gemma3-rope-parameters',
];
/** One of each way to rotate: a program that plays a GPU is slow. */
const ON_GPU = ['llama-gqa', 'llama-yarn', 'gguf-qwen2-partial-rotary'];
export const MODELS = onGpu ? ON_GPU : EVERY;
export const TEXTS = ['abc. de', 'fgh, ij', 'klmno pq.'];
export const QUERY = 'rst uv:';
export const INSTRUCTION = 'wxyz.';
export const shots = TEXTS.map((text, i) => ({ id: `${i}`, text }));
export const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
export const floats = async (t: Tensor) => (await device.read(t)) as Float32Array;
export function close(title: string, got: ArrayLike<number>, want: ArrayLike<number>, bound = LOGITS): void {
  const error = worstError(got, want);
  assert.ok(worst.within(title, error, bound), `${title}: ${error}`);
}
/** Logits of each branch's rows. */
export async function branchLogits(context: ShotContext, list: readonly { ids: readonly number[]; shots: number }[]) {
  const { decoder } = context.model;
  return context.branches(list, async (hidden, rows) => {
    const all = await floats(decoder.logits(hidden));
    const width = decoder.config.vocabSize;
    return rows.map(({ first, count }) => all.slice(first * width, (first + count) * width));
  });
}
/** Bare shots as one masked forward pass sees them: each itself, the query everything. */
export async function maskedLogits(
  model: LocalModel,
  prefix: readonly number[],
  list: readonly (readonly number[])[],
  query: readonly number[],
): Promise<Float32Array> {
  const ids = [...prefix, ...list.flat(), ...query];
  const mask: number[] = prefix.flatMap(() => [0, 0, 0]);
  let start = prefix.length;
  for (const shot of list) {
    for (const _ of shot) mask.push(0, 0, start);
    start += shot.length;
  }
  for (const _ of query) mask.push(0, 0, 0);
  const cache = model.decoder.cache();
  const logits = await logitsOf(model.decoder, cache, ids, { mask: Int32Array.from(mask) });
  cache.dispose();
  return logits.slice(start * model.config.vocabSize);
}
/**
 * Shots that saw the prefix right before them, wherever they are placed: no single pass gives that. Each is read behind the prefix by a plain
 * pass, its rotated keys are turned back, and it is placed.
 */
export async function piecedLogits(
  { decoder, config }: LocalModel,
  prefix: readonly number[],
  list: readonly (readonly number[])[],
  query: readonly number[],
): Promise<Float32Array> {
  const all = decoder.cache();
  if (prefix.length > 0) await logitsOf(decoder, all, prefix);
  for (const ids of list) {
    const alone = decoder.cache();
    await logitsOf(decoder, alone, [...prefix, ...ids]);
    const piece = alone.extract(prefix.length, prefix.length + ids.length);
    all.place(piece);
    piece.dispose();
    alone.dispose();
  }
  const logits = await logitsOf(decoder, all, query);
  all.dispose();
  assert.is(logits.length, query.length * config.vocabSize);
  return logits;
}
export async function plainLogits(model: LocalModel, before: readonly number[], query: readonly number[]) {
  const cache = model.decoder.cache();
  const logits = await logitsOf(model.decoder, cache, [...before, ...query]);
  cache.dispose();
  return logits.slice(before.length * model.config.vocabSize);
}
export const open = async (name: string): Promise<LocalModel> =>
  name === 'nano-base'
    ? openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' })
    : tinyModel(name, device, { bos: true });
/** Some ids, and what transformers makes of them; of nano-base another test holds that. */
export async function referenceOf(name: string): Promise<{ ids: readonly number[]; logits: Float32Array | null }> {
  if (name !== 'nano-base') return tinyReference(name);
  return { ids: range(100, 40), logits: null };
}

/** Tests of one model: each opens it anew, and leaves nothing on the device. */
export const testsOf =
  (name: string) =>
  (title: string, run: (model: LocalModel) => Promise<void>): void =>
    test(`${title} [${name}]`, async () => {
      const before = device.stats().tensors;
      const model = await open(name);
      await run(model);
      model.close();
      assert.is(device.stats().tensors, before, 'tensors left');
    });
