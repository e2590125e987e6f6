/** Gates from their formulas, in f64. */
import type { GateKind, GateWeightName } from '../../src/checkpoint/adapter/gate-kinds.ts';

/** Row by row, as they are stored. */
export type GateNumbers = { [name in GateWeightName]?: ArrayLike<number> };

export interface Position {
  readonly mean?: ArrayLike<number>;
  readonly now?: ArrayLike<number>;
  readonly entropy?: number;
}

/** Logits of the slots at one position. */
export function gateLogits(kind: GateKind, weights: GateNumbers, { mean, now, entropy }: Position): number[] {
  const dot = (w: ArrayLike<number>, row: number, x: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += w[row * x.length + i]! * x[i]!;
    return sum;
  };
  const { out, outBias, entropy: slopes } = weights;
  switch (kind) {
    case 'global': {
      const { bias } = weights;
      const active = Array.from(bias!, (b, u) => {
        const x = b + dot(weights.mean!, u, mean!) + dot(weights.now!, u, now!);
        return x / (1 + Math.exp(-x));
      });
      return Array.from(outBias!, (b, s) => b + dot(out!, s, active));
    }
    case 'hidden':
      return Array.from(outBias!, (b, s) => b + dot(out!, s, now!));
    case 'both':
      return Array.from(outBias!, (b, s) => b + dot(out!, s, now!) + slopes![s]! * entropy!);
    case 'literal':
      return Array.from(slopes!, (w) => w * entropy!);
    default:
      return kind satisfies never;
  }
}
