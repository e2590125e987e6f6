import type { GatedActivation, Tensor } from '../device.ts';
import { elementwise, overElements } from './elementwise.ts';
import { variants } from './kernel.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/**
 * act(x) = x σ(s(x)): silu with s = x, GELU's tanh form with s = 2 √(2/π) (x + 0.044715 x³), since ½ (1 + tanh u) = σ(2u). No number here leaves what f32
 * holds while x is one: a GPU may compute as if there were neither infinities nor NaN. Where x is NaN, x itself is what makes the result one.
 */
const SIGMA = {
  silu: 'fn steepness(x: T) -> T { return x; }\nfn steepening(x: T) -> T { return x; }',
  'gelu-tanh': `fn steepness(x: T) -> T { return x * fma(T(0.07135481627), x * x, T(1.5957691216)); }
fn steepening(x: T) -> T { return x * fma(T(0.2140644488), x * x, T(1.5957691216)); }`,
} as const satisfies Record<GatedActivation, string>;

/** \`steepening\`: x s'(x). \`near\`: x as far out as anything still changes. \`gated\`: act(x) · up. T is what they take. */
export function gatedText(kind: GatedActivation): string {
  return `${SIGMA[kind]}
fn near(x: T) -> T { return select(x, sign(x) * 1e4, abs(x) > T(1e4)); }
fn power(s: T) -> T { return exp(-clamp(s, T(-87.0), T(87.0))); }
fn sigma(s: T, e: T) -> T { return select(1.0 / (1.0 + e), T(0.0), s < T(-87.0)); }
fn gated(x: T, up: T) -> T {
  let s = steepness(near(x));
  return x * sigma(s, power(s)) * up;
}`;
}

/** With `inPlace`, gate is out. */
const GATED = variants('gatedActivation', (_, wide: boolean, kind: GatedActivation, inPlace: boolean) => {
  return elementwise(wide, {
    buffers: [...(inPlace ? [] : [['gate', 'read'] as const]), ['up', 'read'], ['y', 'write']],
    declarations: gatedText(kind),
    body: `y[u.yAt + i] = gated(${inPlace ? 'y[u.yAt + i]' : 'gate[u.gateAt + i]'}, up[u.upAt + i]);`,
  });
});

export function gatedActivation(parts: GpuParts, kind: GatedActivation, gate: Tensor, up: Tensor, out: Tensor): void {
  const inPlace = isSame(gate, out);
  overElements(parts, (wide) => GATED(wide, kind, inPlace), inPlace ? [up, out] : [gate, up, out]);
}

/** 1 - σ as e σ, which keeps its digits where σ is nearly 1. With `atGate`, gate is dGate; with `atUp`, up is dUp. */
const GATED_BACKWARD = variants(
  'gatedActivationBackward',
  (_, wide: boolean, kind: GatedActivation, atGate: boolean, atUp: boolean) => {
    return elementwise(wide, {
      buffers: [
        ...(atGate ? [] : [['gate', 'read'] as const]),
        ...(atUp ? [] : [['up', 'read'] as const]),
        ['dY', 'read'],
        ['dGate', 'write'],
        ['dUp', 'write'],
      ],
      declarations: gatedText(kind),
      body: `let x = ${atGate ? 'dGate[u.dGateAt + i]' : 'gate[u.gateAt + i]'};
    let w = ${atUp ? 'dUp[u.dUpAt + i]' : 'up[u.upAt + i]'};
    let s = steepness(near(x));
    let e = power(s);
    let p = sigma(s, e);
    let d = dY[u.dYAt + i] * p;
    dGate[u.dGateAt + i] = d * w * fma(steepening(near(x)), e * p, T(1.0));
    dUp[u.dUpAt + i] = d * x;`,
    });
  },
);

export function gatedActivationBackward(
  parts: GpuParts,
  kind: GatedActivation,
  gate: Tensor,
  up: Tensor,
  dY: Tensor,
  dGate: Tensor,
  dUp: Tensor,
): void {
  const [atGate, atUp] = [isSame(gate, dGate), isSame(up, dUp)];
  const tensors = [...(atGate ? [] : [gate]), ...(atUp ? [] : [up]), dY, dGate, dUp];
  overElements(parts, (wide) => GATED_BACKWARD(wide, kind, atGate, atUp), tensors);
}

/** Whether they begin at one place: what checks let through then is the same. */
export function isSame(a: Tensor, b: Tensor): boolean {
  return (a as GpuTensor).memory === (b as GpuTensor).memory && a.offset === b.offset;
}
