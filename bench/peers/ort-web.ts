/**
 * onnxruntime-web, wasm execution provider, one thread unless told otherwise: a matrix product and SmolLM2 in f32.
 * Its types are restated here so that the project type-checks without the peers installed.
 */
import { access, readFile } from 'node:fs/promises';
import { tensorProto, writeMatMul } from './onnx.ts';

interface Tensor {
  readonly data: Float32Array | BigInt64Array;
  readonly dims: readonly number[];
}
interface Session {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}
interface Ort {
  env: { wasm: { numThreads: number }; logLevel: string; versions: { web?: string } };
  Tensor: new (type: 'float32' | 'int64', data: Float32Array | BigInt64Array, dims: readonly number[]) => Tensor;
  InferenceSession: { create(model: Uint8Array | string, options: object): Promise<Session> };
}

const ONNX_HELP =
  'set ESPALIER_ONNX to the f32 ONNX file of SmolLM2 (made by `python3 ../shared/tools/rival_onnx.py MODEL_DIR OUT_DIR`, which writes smollm2-f32.onnx)';

let loaded: Promise<Ort> | undefined;
let threads = 1;

/** For the whole process, and before anything else is asked of it. */
export function setThreads(count: number): void {
  if (loaded) throw new Error('onnxruntime-web is already loaded');
  threads = count;
}

function load(): Promise<Ort> {
  const name = 'onnxruntime-web';
  loaded ??= (import(name) as Promise<Ort>).then((ort) => {
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = 'error';
    return ort;
  });
  return loaded;
}

/** Why this peer cannot run, or null. */
export async function available(): Promise<string | null> {
  try {
    await load();
    return null;
  } catch (error) {
    return `onnxruntime-web is not installed: npm ci --prefix bench/peers (${(error as Error).message.split('\n')[0]})`;
  }
}

/** Why the SmolLM2 runner cannot run, or null. */
export async function modelAvailable(): Promise<string | null> {
  const path = process.env['ESPALIER_ONNX'];
  if (!path) return ONNX_HELP;
  const there = await access(path).then(
    () => true,
    () => false,
  );
  return there ? available() : `${path} is not there: ${ONNX_HELP}`;
}

export async function version(): Promise<string> {
  return `onnxruntime-web ${(await load()).env.versions.web ?? '?'}`;
}

const SESSION = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' };

/** C = A·B, all [n, n]. A call includes the copies that `session.run` always makes. */
export async function matmul(a: Float32Array, b: Float32Array, n: number, constantB: boolean) {
  const ort = await load();
  const session = await ort.InferenceSession.create(writeMatMul(n, constantB ? tensorProto('B', b, n) : null), SESSION);
  const feeds: Record<string, Tensor> = { A: new ort.Tensor('float32', a, [n, n]) };
  if (!constantB) feeds['B'] = new ort.Tensor('float32', b, [n, n]);
  return {
    run: async (): Promise<void> => {
      await session.run(feeds);
    },
    result: async (): Promise<Float32Array> => (await session.run(feeds))['C']!.data as Float32Array,
    dispose: (): Promise<void> => session.release(),
  };
}

const LAYERS = 30;
const KV_HEADS = 3;
const HEAD_DIM = 64;
const CACHE_NAMES = Array.from({ length: LAYERS }, (_, i) => [`${i}.k`, `${i}.v`]).flat();

/** SmolLM2 through the graph that rival_onnx.py writes: ids and the cache in, the last logits and the longer cache out. */
export class SmolLM2 {
  readonly #ort: Ort;
  readonly #session: Session;
  #cache: Tensor[] = []; // 2 per layer: [1, KV_HEADS, position, HEAD_DIM]
  #logits = new Float32Array(); // [vocabulary]

  private constructor(ort: Ort, session: Session) {
    this.#ort = ort;
    this.#session = session;
  }

  static async open(path = process.env['ESPALIER_ONNX'] ?? ''): Promise<SmolLM2> {
    const ort = await load();
    return new SmolLM2(ort, await ort.InferenceSession.create(new Uint8Array(await readFile(path)), SESSION));
  }

  /** Forgets what was there, runs all ids; returns the seconds that `session.run` took. */
  prefill(ids: readonly number[]): Promise<number> {
    const empty = new this.#ort.Tensor('float32', new Float32Array(0), [1, KV_HEADS, 0, HEAD_DIM]);
    this.#cache = CACHE_NAMES.map(() => empty);
    return this.#forward(ids);
  }

  /** Greedy decoding of `n` tokens from where the last call ended. */
  async decode(n: number): Promise<{ seconds: number; ids: number[] }> {
    const ids: number[] = [];
    let seconds = 0;
    for (let i = 0; i < n; i++) {
      ids.push(this.top());
      seconds += await this.#forward([ids[i]!]);
    }
    return { seconds, ids };
  }

  /** The likeliest next token. */
  top(): number {
    let best = 0;
    for (let i = 1; i < this.#logits.length; i++) if (this.#logits[i]! > this.#logits[best]!) best = i;
    return best;
  }

  dispose(): Promise<void> {
    return this.#session.release();
  }

  async #forward(ids: readonly number[]): Promise<number> {
    const feeds: Record<string, Tensor> = {
      ids: new this.#ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
    };
    CACHE_NAMES.forEach((name, i) => {
      feeds[`past.${name}`] = this.#cache[i]!;
    });
    const start = performance.now();
    const out = await this.#session.run(feeds);
    const seconds = (performance.now() - start) / 1000;
    this.#cache = CACHE_NAMES.map((name) => out[`present.${name}`]!);
    this.#logits = out['logits']!.data as Float32Array<ArrayBuffer>;
    return seconds;
  }
}
