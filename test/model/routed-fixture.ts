/** Adapters whose experts act by position, of random numbers. */
import { type LoraPart, loraModules } from '../../src/checkpoint/adapter/modules.ts';
import type { RoutedMatrix, WrittenRouted } from '../../src/checkpoint/adapter/routed-write.ts';
import {
  GATE_WEIGHTS,
  type GateWeightName,
  gateWeightShapes,
  ROUTING_RULE,
} from '../../src/checkpoint/adapter/routing.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { randomF32 } from '../device/reference.ts';

export const RANK = 3;
const UNITS = 6;

export function routedAdapter(
  config: ModelConfig,
  {
    size = 0.05,
    experts = 2,
    parts = ['q', 'v', 'gate', 'up'] as readonly LoraPart[],
    ...more
  }: Partial<Omit<WrittenRouted, 'experts'>> & {
    readonly size?: number;
    readonly experts?: number;
    readonly parts?: readonly LoraPart[];
  } = {},
): WrittenRouted {
  const factors: RoutedMatrix[] = [];
  let seed = 1;
  for (const { shape, targets } of loraModules(config).values()) {
    for (const { layer, part, rows } of targets) {
      if (!parts.includes(part)) continue;
      const b = () => randomF32(rows * RANK, seed++, size);
      const a = randomF32(RANK * shape[1], seed++, 1);
      factors.push({ layer, part, rank: RANK, a, retain: b(), forget: Array.from({ length: experts }, b) });
    }
  }
  const shapes = gateWeightShapes({ hidden: config.hiddenSize, units: UNITS, slots: experts + 1 });
  const gate = Object.fromEntries(
    GATE_WEIGHTS.map((name) => {
      const count = shapes[name].reduce((x, y) => x * y, 1);
      return [name, randomF32(count, seed++, name === 'out' ? 2 : 1)];
    }),
  ) as Record<GateWeightName, Float32Array>;
  const names = Array.from({ length: experts }, (_, i) => ({ name: `people-${i + 1}`, request: 'first' }));
  return {
    ...{ config, base: null, rank: RANK, scale: 0.75, experts: names, rule: { ...ROUTING_RULE, cut: 1.7 } },
    ...{ factors, gate },
    ...more,
  };
}

/** A rule and a gate by which the experts have these coefficients at every position, given as shares below 1 in all. */
export function constant(adapter: WrittenRouted, coefficients: readonly number[]): WrittenRouted {
  const rest = 1 - coefficients.reduce((x, y) => x + y, 0);
  const zero = (values: Float32Array) => new Float32Array(values.length);
  const { mean, now, bias, out } = adapter.gate;
  const outBias = Float32Array.from([rest, ...coefficients], Math.log);
  return {
    ...adapter,
    rule: { ...adapter.rule, cut: 0, temperature: 1, most: coefficients.length },
    gate: { mean: zero(mean), now: zero(now), bias: zero(bias), out: zero(out), outBias },
  };
}

export const filesOf = (files: ReadonlyMap<string, Uint8Array>): Record<string, Uint8Array> =>
  Object.fromEntries(files);
