/** Adapters of test/fixtures/lora on their bases, and written again by us. */
import { bindAdapter, openAdapter } from '../../src/checkpoint/adapter/open.ts';
import { adapterFiles, type WrittenFactors } from '../../src/checkpoint/adapter/write.ts';
import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import type { TensorEntry } from '../../src/checkpoint/types.ts';
import type { OutputType } from '../../src/checkpoint/write/shards.ts';
import type { Device } from '../../src/device/device.ts';
import { adaptedDecoder } from '../../src/model/adapted-decoder.ts';
import type { AdapterChoice } from '../../src/model/adapter-options.ts';
import { loadAdapters, openAdapters } from '../../src/model/adapters.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import type { ModelTarget } from '../../src/runtime/files/model-files.ts';
import { list, modelTarget, readText } from '../files.ts';
import { readArrays } from './arrays.ts';
import { tinyDecoder } from './tiny.ts';

const FOLDER = 'test/fixtures/lora';

/** Those with a reference: of `two` a second adapter is part. */
export const loraNames = (await list(FOLDER)).filter((name) => !name.endsWith('-second'));

export const loraTarget = (name: string): Promise<ModelTarget> => modelTarget(`${FOLDER}/${name}`);

/** @returns also the name of the base in test/fixtures/tiny */
export async function loraReference(name: string) {
  const arrays = await readArrays(`${FOLDER}/${name}/reference.safetensors`);
  const ids = [...(arrays.get('ids')!.data as Int32Array)];
  const base = (await readText(`${FOLDER}/${name}/base.txt`)).trim();
  return { ids, logits: arrays.get('logits')!.data as Float32Array, base };
}

/** A base with adapters. */
export async function adapted(base: string, device: Device, choices: readonly AdapterChoice[]): Promise<Decoder> {
  const plain = await tinyDecoder(base, device, 'exact');
  const { weighed, routed, close } = await openAdapters(choices, { name: base, config: plain.config }, {});
  const loaded = await loadAdapters(device, weighed, { withIdentity: false, routed });
  await close();
  plain.ropes.dispose();
  return adaptedDecoder(device, plain.config, plain.weights, loaded, 'exact');
}

async function values({ source, offset, byteLength, type, shape }: TensorEntry): Promise<Float32Array> {
  const bytes = new Uint8Array(byteLength);
  await source.readInto(offset, bytes);
  return dequantise(type, bytes, shape[0]! * shape[1]!);
}

/** An adapter as a trainer has it, by layer and part, written by us. Only of those with one factor for all modules. */
export async function writtenAgain(name: string, device: Device, type: OutputType) {
  const { base } = await loraReference(name);
  const decoder = await tinyDecoder(base, device, 'exact');
  const { config } = decoder;
  decoder.dispose();
  const adapter = await openAdapter(await loraTarget(name));
  const { pairs } = bindAdapter(adapter, { name: base, config });
  const { alpha, rslora } = adapter.config;
  const factors: WrittenFactors[] = [];
  for (const { a, b, targets, scale } of pairs) {
    const rank = a.shape[0]!;
    const [valuesA, valuesB] = [await values(a), await values(b)];
    // a factor of its own goes into B
    const own = scale / (alpha / (rslora ? Math.sqrt(rank) : rank));
    for (const { layer, part, firstRow, rows } of targets) {
      const rowsB = valuesB.slice(firstRow * rank, (firstRow + rows) * rank).map((value) => value * own);
      factors.push({ layer, part, rank, a: valuesA, b: rowsB });
    }
  }
  await adapter.close();
  return Object.fromEntries(adapterFiles({ config, base, factors, alpha, rslora, type })) as Record<string, Uint8Array>;
}
