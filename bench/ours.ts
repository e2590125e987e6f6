/** The library as a contender. The only file here that knows how to call it; everything is imported when first used. */
import { STAT_NUMBERS, STAT_PLACE, STAT_PLACES } from '../src/device/device.ts';
import { WasmDevice } from '../src/device/wasm/wasm-device.ts';
import { drawEach } from '../src/model/generate/draw.ts';
import { Sampler } from '../src/model/generate/sampler.ts';
import type { KvCache } from '../src/model/kv-cache.ts';
import { openLocal } from '../src/open-local.ts';

export interface Product {
  /** One C = A·B on data already on the device; synchronous, done when it returns. */
  run(): void;
  result(): Promise<Float32Array>;
  dispose(): void;
}

export interface BenchModel {
  /** Forgets what was there, runs all ids with logits for the last only; seconds. */
  prefill(ids: readonly number[]): Promise<number>;
  /** Greedy decoding of `n` tokens from where the last call ended; seconds without picking the token. */
  decode(n: number): Promise<{ seconds: number; ids: number[] }>;
  dispose(): void;
}

export interface OpenOptions {
  /** How quantised weights meet activations. */
  activations: 'int8' | 'f32';
  /** Positions the cache must hold. */
  context: number;
  /** Default 1. */
  lanes?: number;
}

export interface MicroCase {
  name: string;
  run(): void;
}

/** a, b: [n, n]. */
export async function gemm(a: Float32Array, b: Float32Array, n: number, lanes = 1): Promise<Product> {
  const device = await WasmDevice.create({ lanes });
  const [left, right, out] = [device.tensor('f32', [n, n]), device.tensor('f32', [n, n]), device.tensor('f32', [n, n])];
  device.write(left, a);
  device.write(right, b);
  return {
    run: () => device.matmul(left, right, out),
    result: async () => {
      device.matmul(left, right, out);
      return (await device.read(out)) as Float32Array;
    },
    dispose: () => device.close(),
  };
}

/** A GGUF file or a model folder. */
export async function openModel(path: string, options: OpenOptions): Promise<BenchModel> {
  const device = await WasmDevice.create({ lanes: options.lanes ?? 1 });
  const model = await openLocal(path, { device, precision: options.activations === 'int8' ? 'int8' : 'exact' });
  const { decoder } = model;
  const cache = decoder.cache(Math.min(options.context, model.config.maxPositions));
  const numbers = device.tensor('f32', [1, STAT_NUMBERS]);
  const places = device.tensor('i32', [1, STAT_PLACES]);
  let next = 0;
  /** Seconds for the tokens, their logits and the readback; leaves the likeliest token in `next`. */
  const run = async (ids: readonly number[]): Promise<number> => {
    const start = performance.now();
    await decoder.forward(ids, cache, {
      output: 'last',
      onChunk: async (hidden) => {
        device.logitStats(decoder.logits(hidden), null, 1, numbers, places);
        next = (await device.read(places))[STAT_PLACE.argmax]!;
      },
    });
    return (performance.now() - start) / 1000;
  };
  return {
    prefill: (ids) => {
      cache.truncate(0);
      return run(ids);
    },
    decode: async (n) => {
      const ids: number[] = [];
      let seconds = 0;
      for (let i = 0; i < n; i++) {
        ids.push(next);
        seconds += await run([next]);
      }
      return { seconds, ids };
    },
    dispose: () => {
      cache.dispose();
      numbers.dispose();
      places.dispose();
      model.close();
      device.close();
    },
  };
}

export interface BatchModel {
  /** Puts all texts back behind their prompts. */
  rewind(): void;
  /** Greedy decoding of `n` tokens of each of the first `count` texts, all in one pass each time; seconds. */
  decode(count: number, n: number): Promise<number>;
  dispose(): void;
}

/** A model with `texts` caches that hold the same prompt. */
export async function openBatch(
  path: string,
  options: OpenOptions,
  ids: readonly number[],
  texts: number,
): Promise<BatchModel> {
  const device = await WasmDevice.create({ lanes: options.lanes ?? 1 });
  const model = await openLocal(path, { device, precision: options.activations === 'int8' ? 'int8' : 'exact' });
  const { decoder } = model;
  const own = ids.map((id) => id % model.config.vocabSize);
  const draw = { sampler: new Sampler(), count: 0, seen: new Set<number>() };
  const all: { readonly cache: KvCache; next: number }[] = [];
  for (let i = 0; i < texts; i++) {
    const cache = decoder.cache(options.context);
    await decoder.forward(own, cache, { output: 'last' });
    all.push({ cache, next: own[i % own.length]! });
  }
  return {
    rewind: () => {
      for (const { cache } of all) cache.truncate(own.length);
    },
    decode: async (count, n) => {
      const some = all.slice(0, count);
      const start = performance.now();
      for (let i = 0; i < n; i++) {
        const parts = some.map(({ cache, next }) => ({ cache, ids: [next] }));
        await decoder.forwardEach(parts, {
          output: 'last',
          onOutput: async (hidden) => {
            const logits = decoder.logits(hidden, decoder.precision, true);
            const outcomes = await drawEach(
              device,
              logits,
              some.map(() => draw),
            );
            for (const [t, outcome] of outcomes.entries()) if ('drawn' in outcome) some[t]!.next = outcome.drawn.id;
          },
        });
      }
      return (performance.now() - start) / 1000;
    },
    dispose: () => {
      for (const { cache } of all) cache.dispose();
      model.close();
      device.close();
    },
  };
}

/** Microseconds of one empty command to `lanes` lanes: best of many. */
export async function barrier(lanes: number): Promise<number> {
  const device = await WasmDevice.create({ lanes });
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 200; round++) {
    const start = performance.now();
    for (let i = 0; i < 100; i++) device.barrier();
    best = Math.min(best, (performance.now() - start) * 10);
  }
  device.close();
  return best;
}

/** Small operations, each well under a millisecond. */
export async function micro(): Promise<MicroCase[]> {
  const device = await WasmDevice.create();
  const random = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 2);
  const f32 = (...shape: number[]) => {
    const tensor = device.tensor('f32', shape);
    device.write(tensor, random(shape.reduce((a, b) => a * b)));
    return tensor;
  };
  const [x, y, norm, logits] = [f32(16, 576), f32(16, 576), f32(576), f32(1, 49152)];
  const [numbers, argmax] = [f32(1, STAT_NUMBERS), device.tensor('i32', [1, STAT_PLACES])];
  const [values, places] = [device.tensor('f32', [40]), device.tensor('i32', [40])];
  const [query, keys, cached, attended] = [f32(1, 576), f32(256, 192), f32(256, 192), f32(1, 576)];
  const [gate, up, product, table] = [f32(16, 1536), f32(16, 1536), f32(16, 1536), f32(1, 2, 32)];
  return [
    { name: 'rmsNorm 16 x 576', run: () => device.rmsNorm(x, norm, y, 1e-5) },
    { name: 'silu gate 16 x 1536', run: () => device.gatedActivation('silu', gate, up, product) },
    { name: 'softmax 16 x 576', run: () => device.softmax(y) },
    {
      name: 'rope 16 x 9 x 64',
      run: () => device.rope(x, table, 0, { heads: 9, headDim: 64, rotaryDims: 64, layout: 'half' }),
    },
    { name: 'logitStats 49152', run: () => device.logitStats(logits, null, 1, numbers, argmax) },
    { name: 'topK 40 of 49152', run: () => device.topK(logits, 40, values, places) },
    {
      name: 'attention, 1 query over 256',
      run: () =>
        device.attention({
          q: query,
          keys,
          values: cached,
          out: attended,
          base: 255,
          nHeads: 9,
          nKvHeads: 3,
          headDim: 64,
          scale: 0.125,
          window: 0,
          mask: null,
        }),
    },
  ];
}

export const version = 'espalier 0.1.0';
