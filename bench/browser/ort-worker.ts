/** SmolLM2 by onnxruntime-web, through the graph that rival_onnx.py writes; see ../peers/ort-web.ts, which does it in Node. */
import { expose } from 'comlink';
import type { OrtWorker } from './ort.ts';

interface Tensor {
  readonly data: Float32Array | BigInt64Array;
}
interface Session {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
}
interface Ort {
  env: { wasm: { numThreads: number }; logLevel: string; versions: { web?: string } };
  Tensor: new (type: 'float32' | 'int64', data: Float32Array | BigInt64Array, dims: readonly number[]) => Tensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

const LAYERS = 30;
const KV_HEADS = 3;
const HEAD_DIM = 64;
const CACHE_NAMES = Array.from({ length: LAYERS }, (_, i) => [`${i}.k`, `${i}.v`]).flat();

let ort: Ort;
let session: Session;
let cache: Tensor[] = [];
let logits = new Float32Array();

/** Seconds that `session.run` takes, with the copies that it always makes. */
async function forward(ids: readonly number[]): Promise<number> {
  const feeds: Record<string, Tensor> = {
    ids: new ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
  };
  CACHE_NAMES.forEach((name, i) => {
    feeds[`past.${name}`] = cache[i]!;
  });
  const start = performance.now();
  const out = await session.run(feeds);
  const seconds = (performance.now() - start) / 1000;
  cache = CACHE_NAMES.map((name) => out[`present.${name}`]!);
  logits = out['logits']!.data as Float32Array<ArrayBuffer>;
  return seconds;
}

function top(): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

const worker: OrtWorker = {
  load: async ({ file, threads }) => {
    const address = '/peers/onnxruntime-web/dist/ort.wasm.min.mjs';
    ort = (await import(address)) as Ort;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = 'error';
    const response = await fetch(file);
    if (!response.ok) throw new Error(`${file}: ${response.status}`);
    session = await ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()), {
      executionProviders: ['wasm'],
      graphOptimizationLevel: 'all',
    });
    // it takes fewer than asked for where memory cannot be shared
    if (ort.env.wasm.numThreads !== threads) throw new Error(`it runs ${ort.env.wasm.numThreads} threads`);
    return `onnxruntime-web ${ort.env.versions.web ?? '?'}`;
  },
  run: async (prompt, decoded) => {
    const empty = new ort.Tensor('float32', new Float32Array(0), [1, KV_HEADS, 0, HEAD_DIM]);
    cache = CACHE_NAMES.map(() => empty);
    const prefill = await forward(prompt.ids);
    const ids: number[] = [];
    let decode = 0;
    for (let i = 0; i < decoded; i++) {
      ids.push(top());
      decode += await forward([ids[i]!]);
    }
    return { prefill, decode, ids, text: null };
  },
};
expose(worker);
