/** Adapters whose experts act by position, of random numbers. */
import {
  type GateKind,
  type GateOf,
  gateEntries,
  gateFrom,
  gateWeightShapes,
} from '../../src/checkpoint/adapter/gate-kinds.ts';
import { type LoraPart, loraModules } from '../../src/checkpoint/adapter/modules.ts';
import type { RoutedMatrix, WrittenRouted } from '../../src/checkpoint/adapter/routed-write.ts';
import { ROUTING_RULE } from '../../src/checkpoint/adapter/routing.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { randomF32 } from '../device/reference.ts';

export const RANK = 3;
const UNITS = 6;

/** A gate of random numbers. */
export function randomGate(kind: GateKind, hidden: number, slots: number, first: number): GateOf<Float32Array> {
  let seed = first;
  const all = new Map(
    gateEntries(gateWeightShapes({ kind, hidden, units: UNITS, slots })).map(([name, shape]) => {
      const count = shape.reduce((x, y) => x * y, 1);
      return [name, randomF32(count, seed++, name === 'out' && kind === 'global' ? 2 : 1)] as const;
    }),
  );
  return gateFrom(kind, (name) => all.get(name)!);
}

export function routedAdapter(
  config: ModelConfig,
  {
    size = 0.05,
    experts = 2,
    kind = 'global',
    parts = ['q', 'v', 'gate', 'up'] as readonly LoraPart[],
    ...more
  }: Partial<Omit<WrittenRouted, 'experts'>> & {
    readonly size?: number;
    readonly experts?: number;
    readonly kind?: GateKind;
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
  const gate = randomGate(kind, config.hiddenSize, experts + 1, seed);
  const names = Array.from({ length: experts }, (_, i) => ({ name: `people-${i + 1}`, request: 'first' }));
  return {
    ...{ config, base: null, rank: RANK, scale: 0.75, experts: names, rule: { ...ROUTING_RULE, cut: 1.5 } },
    ...{ factors, gate },
    ...more,
  };
}

/** A rule and a gate by which the experts have these coefficients at every position, given as shares below 1 in all. */
export function constant(adapter: WrittenRouted, coefficients: readonly number[]): WrittenRouted {
  const rest = 1 - coefficients.reduce((x, y) => x + y, 0);
  const { gate } = adapter;
  if (gate.kind === 'literal') throw new Error('a gate without biases');
  const values = new Map(gateEntries(gate));
  const outBias = Float32Array.from([rest, ...coefficients], Math.log);
  return {
    ...adapter,
    rule: { ...adapter.rule, cut: 0, temperature: 1, most: coefficients.length },
    gate: gateFrom(gate.kind, (name) => (name === 'outBias' ? outBias : new Float32Array(values.get(name)!.length))),
  };
}

export const filesOf = (files: ReadonlyMap<string, Uint8Array>): Record<string, Uint8Array> =>
  Object.fromEntries(files);
