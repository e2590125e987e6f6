/**
 * Decoding on a GPU by how many texts are written at once: commands and bytes of weights that a pass takes, and tokens a second. As `generate` does it: a pass
 * begins before the last one's tokens are read.
 */
import { floatToHalf } from '../src/checkpoint/quantised/half.ts';
import { type ModelTarget, openLocal } from '../src/local.ts';
import type { SamplingOptions } from '../src/model/generate/options.ts';
import { Sampler } from '../src/model/generate/sampler.ts';
import { Steps } from '../src/model/generate/steps.ts';
import { type KernelBench, type KernelTime, kernelTimes } from './device-kernels.ts';
import { compare, type Options } from './harness.ts';
import { sequences } from './train-work.ts';

export interface Decoding {
  readonly texts: number;
  /** Of a pass, which gives each text a token. */
  readonly dispatches: number;
  /** By the name of the kernel, of one pass; what a layer has stands there as often as there are layers. */
  readonly kernels: Readonly<Record<string, KernelTime>>;
  readonly weightBytes: number;
  readonly tokensPerSecond: number;
}

export interface DecodingSizes {
  readonly texts: readonly number[];
  /** Tokens before those that are measured, and those. */
  readonly prompt: number;
  readonly tokens: number;
  readonly sampling: SamplingOptions;
}

/** @param target a model whose matrices are read once a pass, the tied embedding as the output matrix */
export async function decoding(
  device: KernelBench,
  target: ModelTarget,
  { texts, prompt, tokens, sampling }: DecodingSizes,
  options: Options,
): Promise<Decoding[]> {
  const before = device.stats().bytes;
  const model = await openLocal(target, { device });
  const weightBytes = device.stats().bytes - before;
  const { decoder } = model;
  const ids = sequences(1, prompt, model.config.vocabSize)[0]!;
  const sampler = new Sampler(sampling);
  const caches = Array.from({ length: Math.max(...texts) }, () => decoder.cache());
  const results: Decoding[] = [];
  try {
    for (const cache of caches) {
      cache.reserve(prompt + tokens + 1);
      await decoder.forward(ids, cache, { output: 'last' });
    }
    for (const count of texts) {
      const some = caches.slice(0, count);
      const run = async (length = tokens): Promise<number> => {
        const steps = Steps.of(decoder);
        const leave = some.map(() => steps.enter());
        const start = performance.now();
        await Promise.all(
          some.map(async (cache, t) => {
            let input = [ids[t % ids.length]!];
            for (let n = 0; n < length; n++) {
              const more = n + 1 < length;
              const { id } = await steps.take({ input, cache, sampler, count: n, seen: new Set(), more });
              input = [id];
            }
          }),
        );
        const seconds = (performance.now() - start) / 1000;
        for (const end of leave) end();
        for (const cache of some) cache.truncate(prompt);
        return seconds;
      };
      await run(); // compiles
      const [timing] = await compare(
        [{ name: `${count}`, unit: 'token', unitsPerRun: count * tokens, run: () => run() }],
        options,
      );
      const kernels = await kernelTimes(device, () => run(1));
      const dispatches = Object.values(kernels).reduce((sum, { dispatches }) => sum + dispatches, 0);
      results.push({ texts: count, dispatches, kernels, weightBytes, tokensPerSecond: timing!.best });
    }
    return results;
  } finally {
    for (const cache of caches) cache.dispose();
    model.close();
  }
}

/** A file of safetensors in f32, as f16. */
export function halved(file: Uint8Array): Uint8Array {
  const size = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + size))) as Record<string, never>;
  for (const entry of Object.values(header) as { dtype?: string; data_offsets: [number, number] }[]) {
    if (!entry.dtype) continue; // what is said of the file
    entry.dtype = 'F16';
    entry.data_offsets = [entry.data_offsets[0] / 2, entry.data_offsets[1] / 2];
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  const values = new Float32Array(file.slice(8 + size).buffer);
  const out = new Uint8Array(8 + text.length + 2 * values.length);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 8);
  const halves = new Uint16Array(out.buffer, 8 + text.length);
  for (let i = 0; i < values.length; i++) halves[i] = floatToHalf(values[i]!);
  return out;
}
