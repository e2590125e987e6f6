/** What the tests of one layer share: a device, the embedded model's weights, layers that are grown and read as numbers. */
import type { Device } from '../../src/device/device.ts';
import type { Tuning } from '../../src/device/wasm/tune.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { type GrownLayer, growLayer } from '../../src/grow/methods/layer.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import type { LayerRecord, OutputType, Projection } from '../../src/grow/types.ts';
import { LinearAlgebra } from '../../src/svd/linear-algebra.ts';
import { modelTarget } from '../files.ts';
import { normal } from '../svd/algebras.ts';
import { opened, tensorValues } from './growth.ts';

export interface Ground {
  readonly device: WasmDevice;
  readonly algebra: LinearAlgebra;
}

/** Plain SIMD: the same bits everywhere. */
export async function ground(lanes = 1, tuning: Partial<Tuning> = {}): Promise<Ground> {
  const device = await WasmDevice.create({ relaxed: false, lanes, debug: true, tuning });
  return { device, algebra: LinearAlgebra.over(device) };
}

/** A dense feed-forward: gate and up [m, d], down [d, m]. */
export interface Dense {
  readonly hidden: number;
  readonly intermediate: number;
  readonly gate: Float32Array;
  readonly up: Float32Array;
  readonly down: Float32Array;
}

export async function nanoLayer(layer: number): Promise<Dense> {
  return opened(await modelTarget('models/nano-base'), async (checkpoint) => {
    const read = (name: Projection) => tensorValues(checkpoint, `model.layers.${layer}.mlp.${name}_proj.weight`);
    const [gate, up, down] = [await read('gate'), await read('up'), await read('down')];
    const { hiddenSize: hidden, intermediateSize: intermediate } = checkpoint.config;
    return { hidden, intermediate, gate, up, down };
  });
}

/** Of the scale that a trained one has: outputs of size 1 for inputs of size 1. */
export function randomLayer(hidden: number, intermediate: number): Dense {
  const draw = (seed: number, inner: number) =>
    Float32Array.from(normal(hidden * intermediate, seed), (x) => x / Math.sqrt(inner));
  return { hidden, intermediate, gate: draw(901, hidden), up: draw(902, hidden), down: draw(903, intermediate) };
}

export async function grow(
  { device, algebra }: Ground,
  dense: Dense,
  options: GrowRecipe,
  layer = 3,
): Promise<GrownLayer> {
  const { hidden, intermediate } = dense;
  const read = async (projection: Projection) => dense[projection];
  return growLayer({ device, algebra, plan: resolveOptions(options), layer, hidden, intermediate, read });
}

/** The bytes of a type as f32. */
export async function asNumbers(device: Device, bytes: Uint8Array, type: OutputType): Promise<Float32Array> {
  if (type === 'f32') return new Float32Array(bytes.slice().buffer);
  const words = new Uint16Array(bytes.slice().buffer);
  const [from, to] = [device.tensor(type, [words.length]), device.tensor('f32', [words.length])];
  device.write(from, words);
  device.cast(from, to);
  const read = (await device.read(to)) as Float32Array;
  for (const t of [from, to]) t.dispose();
  return read;
}

export async function rowBytes(
  layer: GrownLayer,
  expert: number,
  projection: Projection,
  type: OutputType,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of layer.rows(expert, projection, type)) pieces.push(piece);
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** A grown layer as numbers. */
export interface Mixture {
  readonly experts: readonly Readonly<Record<Projection, Float32Array>>[];
  readonly size: number;
  /** What the shared expert's down projection is multiplied by; 0: there is none. */
  readonly shared: number;
  readonly router: Float32Array;
  readonly record: LayerRecord;
}

export async function mixture(
  on: Ground,
  dense: Dense,
  options: GrowRecipe,
  type: OutputType = 'f32',
): Promise<Mixture> {
  const layer = await grow(on, dense, options);
  try {
    const experts: Record<Projection, Float32Array>[] = [];
    for (let e = 0; e < layer.experts; e++) {
      const read = async (projection: Projection) =>
        layer.routed(e, projection).kind === 'copy'
          ? dense[projection]
          : asNumbers(on.device, await rowBytes(layer, e, projection, type), type);
      experts.push({ gate: await read('gate'), up: await read('up'), down: await read('down') });
    }
    const router = await asNumbers(on.device, await layer.router('f32'), 'f32');
    const shared = layer.shared('down')?.scale ?? 0;
    return { experts, size: layer.expertSize, shared, router, record: await layer.finish(type) };
  } finally {
    layer.dispose();
  }
}

/** down · (silu(gate x) · (up x)) in f64. */
export function feedForward(
  x: Float64Array,
  { gate, up, down }: Readonly<Record<Projection, Float32Array | Float64Array>>,
): Float64Array {
  const d = x.length;
  const m = gate.length / d;
  const h = Float64Array.from({ length: m }, (_, i) => {
    let [g, u] = [0, 0];
    for (let c = 0; c < d; c++) {
      g += gate[i * d + c]! * x[c]!;
      u += up[i * d + c]! * x[c]!;
    }
    return (g / (1 + Math.exp(-g))) * u;
  });
  return Float64Array.from({ length: d }, (_, r) => h.reduce((sum, v, i) => sum + down[r * m + i]! * v, 0));
}

/** The k chosen experts with weights that sum to 1: softmax of their logits. */
export function chosen(x: Float64Array, router: Float32Array, k: number): [expert: number, weight: number][] {
  const d = x.length;
  const logits = Array.from({ length: router.length / d }, (_, e) =>
    x.reduce((sum, v, c) => sum + v * router[e * d + c]!, 0),
  );
  const order = logits.map((_, e) => e).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const some = order.slice(0, k);
  const weights = some.map((e) => Math.exp(logits[e]! - logits[some[0]!]!));
  const sum = weights.reduce((a, b) => a + b, 0);
  return some.map((e, i) => [e, weights[i]! / sum]);
}

/** What the mixture computes for x. */
export function mixtureOutput(x: Float64Array, dense: Dense, mix: Mixture, topK: number): Float64Array {
  const out = new Float64Array(x.length);
  const add = (y: Float64Array, weight: number): void => {
    for (let i = 0; i < y.length; i++) out[i]! += weight * y[i]!;
  };
  if (mix.shared !== 0) add(feedForward(x, dense), mix.shared);
  for (const [e, weight] of chosen(x, mix.router, topK)) add(feedForward(x, mix.experts[e]!), weight);
  return out;
}

export function norm(x: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * x[i]!;
  return Math.sqrt(sum);
}

export function inner(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

/** ||x - y|| / ||y|| */
export function relative(x: ArrayLike<number>, y: ArrayLike<number>): number {
  return norm(Float64Array.from({ length: y.length }, (_, i) => x[i]! - y[i]!)) / norm(y);
}
