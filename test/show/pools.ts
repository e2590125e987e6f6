/** Pools of shots of tiny models. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { ShotContext, type ShotPool } from '../../src/show.ts';
import { tinyModel } from './models.ts';

export const device: Device = await WasmDevice.create();
export const TEXTS = ['abc. de', 'fgh, ij', 'klmno pq.', 'rstuv', 'wxyz a', 'bcd ef'];
export const shots = TEXTS.map((text, i) => ({ id: `s${i}`, text }));
export const ids = (...list: number[]) => list.map((i) => `s${i}`);
export const on = (title: string, run: (model: LocalModel) => Promise<void>) =>
  test(title, async () => {
    const before = device.stats().tensors;
    const model = await tinyModel('llama-gqa', device, { bos: true });
    await run(model);
    model.close();
    assert.is(device.stats().tensors, before, 'tensors left');
  });
/** Logits of a query behind some shots: what a pool is for. */
export async function logitsBehind(pool: ShotPool, list: readonly string[]): Promise<Float32Array> {
  const context = await ShotContext.create(pool, { room: 16 });
  try {
    await context.place(list);
    const query = pool.model.encode('uv:', { addBos: false });
    return await context.branches([{ ids: query, shots: list.length }], async (hidden) => {
      return (await device.read(pool.model.decoder.logits(hidden))) as Float32Array;
    });
  } finally {
    context.close();
  }
}
