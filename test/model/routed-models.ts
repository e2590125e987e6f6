/** Models whose experts act by position, of random numbers, and what the formulas say of them in f64. */

import { type GateKind, gateEntries, gateFrom, gateWeightShapes } from '../../src/checkpoint/adapter/gate-kinds.ts';
import type { LoraPart } from '../../src/checkpoint/adapter/modules.ts';
import type { RoutingRule } from '../../src/checkpoint/adapter/routing.ts';
import type { Device, Tensor } from '../../src/device/device.ts';
import { withTerms } from '../../src/model/adapters.ts';
import { Decoder } from '../../src/model/decoder.ts';
import type { LoraTerm, LoraTerms } from '../../src/model/lora.ts';
import { RoutedDecoder } from '../../src/model/routed/decoder.ts';
import type { GateWeights } from '../../src/model/routed/gate.ts';
import { coefficientsOf } from '../../src/model/routed/rule.ts';
import { put } from '../device/devices.ts';
import { randomF32 } from '../device/reference.ts';
import { type GateNumbers, gateLogits } from './gate-reference.ts';
import { runAll } from './run.ts';
import { tinyDecoder, withPositions } from './tiny.ts';

export const EXPERTS = 2;

export interface RoutedModels {
  readonly device: Device;
  readonly base: Decoder;
  /** Its terms for any pass; routing has to be told. */
  readonly plain: Decoder;
  readonly routed: RoutedDecoder;
  readonly gate: GateWeights;
  dispose(): void;
}

export async function routedModels(
  device: Device,
  model: string,
  {
    size = 0.05,
    rule,
    kind = 'global',
    maxPositions,
  }: {
    readonly size?: number;
    readonly rule: RoutingRule;
    readonly kind?: GateKind;
    /** Default: the model's. */
    readonly maxPositions?: number;
  },
): Promise<RoutedModels> {
  const base = await tinyDecoder(
    model,
    device,
    'exact',
    maxPositions === undefined ? undefined : withPositions(maxPositions),
  );
  const tensors: Tensor[] = [];
  const keep = (shape: readonly number[], data: ArrayLike<number>): Tensor => {
    const tensor = put(device, shape, data);
    tensors.push(tensor);
    return tensor;
  };
  const terms = new Map<number, LoraTerms<LoraPart>>();
  for (let i = 0; i < base.config.nLayers; i++) {
    const layer = base.weights.layers.get(i);
    if (layer instanceof Promise) throw new Error('weights that come later');
    const matrices = {
      q: layer.q,
      v: layer.v,
      ...(layer.feedForward.kind === 'dense' && { up: layer.feedForward.up }),
    };
    const parts: { [P in LoraPart]?: LoraTerm[] } = {};
    for (const [n, [part, matrix]] of Object.entries(matrices).entries()) {
      const [rows, width] = matrix.shape as [number, number];
      const a = keep([3, width], randomF32(3 * width, 100 * i + n, 1));
      const b = (expert: number) => keep([rows, 3], randomF32(3 * rows, 1000 * i + 10 * n + expert, size));
      parts[part as LoraPart] = [
        { a, b: b(0), scale: 1 },
        { a, b: b(1), scale: 1, expert: 0 },
        { a, b: b(2), scale: 1, expert: 1 },
      ];
    }
    terms.set(i, parts);
  }
  const shapes = gateWeightShapes({ kind, hidden: base.config.hiddenSize, units: 6, slots: EXPERTS + 1 });
  const made = new Map(
    gateEntries(shapes).map(([name, shape], i) => {
      const count = shape.reduce((x, y) => x * y);
      return [name, keep(shape, randomF32(count, 7 + i, name === 'out' && kind === 'global' ? 2 : 1))] as const;
    }),
  );
  const gate = gateFrom(kind, (name) => made.get(name)!);
  const weights = withTerms(base.weights, terms);
  const router = { gate, rule, dispose: () => {} };
  const routed = new RoutedDecoder(device, base.config, weights, base, router, 'exact');
  const plain = new Decoder(device, base.config, weights, 'exact');
  const dispose = (): void => {
    plain.ropes.dispose();
    routed.dispose();
    for (const tensor of tensors) tensor.dispose();
  };
  return { device, base, plain, routed, gate, dispose };
}

export const idsOf = (count: number, vocab: number, seed = 3): number[] =>
  Array.from({ length: count }, (_, i) => (i * 7 + seed) % vocab);

/** Coefficients from the formulas, in f64, of what the unadapted model says. */
export async function coefficients(
  { device, base, gate }: RoutedModels,
  ids: readonly number[],
  rule: RoutingRule,
): Promise<Float32Array> {
  const { normed, logits } = await runAll(base, ids);
  const { hiddenSize: d, vocabSize: v } = base.config;
  const numbers: GateNumbers = {};
  for (const [name, tensor] of gateEntries(gate)) numbers[name] = (await device.read(tensor)) as Float32Array;
  const out = new Float32Array(ids.length * EXPERTS);
  // of a uniform distribution: what the first token came from nobody knows
  let before = (1 - v ** (1 - rule.order)) / (rule.order - 1);
  for (let t = 0; t < ids.length; t++) {
    const mean = Array.from({ length: d }, (_, i) => {
      let sum = 0;
      for (let j = 0; j <= t; j++) sum += normed[j * d + i]!;
      return sum / (t + 1);
    });
    const row = logits.subarray(t * v, (t + 1) * v);
    const largest = row.reduce((x, y) => Math.max(x, y));
    const e = Array.from(row, (x) => Math.exp(x - largest));
    const total = e.reduce((x, y) => x + y);
    const entropy = (1 - e.reduce((x, y) => x + (y / total) ** rule.order, 0)) / (rule.order - 1);
    const used = rule.alignment === 'lagged' ? before : entropy;
    before = entropy;
    const slots = gateLogits(gate.kind, numbers, { mean, now: normed.subarray(t * d, (t + 1) * d), entropy: used });
    coefficientsOf(rule, Float32Array.from(slots), used, out.subarray(t * EXPERTS, (t + 1) * EXPERTS));
  }
  return out;
}

/** Logits of a text in one pass, [T, vocab]. */
export async function whole(decoder: Decoder, ids: readonly number[], routing?: Float32Array): Promise<Float32Array> {
  const { device } = decoder;
  const cache = decoder.cache();
  const tensor = routing && put(device, [ids.length, EXPERTS], routing);
  const { vocabSize } = decoder.config;
  const logits = new Float32Array(ids.length * vocabSize);
  await decoder.forward(ids, cache, {
    ...(tensor && { routing: tensor }),
    onChunk: async (normed, first) => {
      logits.set((await device.read(decoder.logits(normed))) as Float32Array, first * vocabSize);
    },
  });
  cache.dispose();
  tensor?.dispose();
  return logits;
}
