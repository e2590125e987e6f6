/** Gates that choose the experts of an adapter by position: what each kind reads, its weights, and their shapes. */

/**
 * How the logits of a gate, one a slot, are made of what the unadapted model knows at a position: h is its last hidden state behind the last norm, m the
 * mean of those up to it, S the Tsallis entropy that the rule of the adapter means. Each is one gate for the whole model.
 * - `global`: out · silu(mean · m + now · h + bias) + outBias
 * - `hidden`: out · h + outBias, HydraLoRA's router (arXiv 2404.19245) with a bias
 * - `both`: out · h + entropy · S + outBias
 * - `literal`: entropy · S, as public notes on ALTER (arXiv 2603.01792) have it, with a row for the null slot. S is not below 0, so slots stand in one order for
 *   every token: this gate cannot tell texts apart.
 */
export const GATE_KINDS = ['global', 'hidden', 'both', 'literal'] as const;
export type GateKind = (typeof GATE_KINDS)[number];

/** Of each position: the mean of hidden states so far, the hidden state now, and the entropy. */
export type GateInput = 'mean' | 'now' | 'entropy';

export const GATE_INPUTS: Readonly<Record<GateKind, readonly GateInput[]>> = {
  global: ['mean', 'now'],
  hidden: ['now'],
  both: ['now', 'entropy'],
  literal: ['entropy'],
};

/** What gates read at some positions, `mean` and `now` [T, hidden], `entropy` [T, 1]: those of `GATE_INPUTS` have to be there. */
export type GateInputs<T> = { readonly [I in GateInput]?: T };

/** In the order in which they are stored. */
export const GATE_WEIGHTS = {
  global: ['mean', 'now', 'bias', 'out', 'outBias'],
  hidden: ['out', 'outBias'],
  both: ['out', 'entropy', 'outBias'],
  literal: ['entropy'],
} as const satisfies Readonly<Record<GateKind, readonly string[]>>;
export type GateWeightName = (typeof GATE_WEIGHTS)[GateKind][number];

/** What there is of each weight of a gate: tensors, numbers, or where they are stored. */
export type GateOf<T, K extends GateKind = GateKind> = {
  [P in K]: { readonly kind: P } & Readonly<Record<(typeof GATE_WEIGHTS)[P][number], T>>;
}[K];

/** What alter.json says of a gate. */
export type GateSpec =
  | {
      readonly kind: 'global';
      /** Of the model's hidden states. */
      readonly hidden: number;
      /** Between the two layers. */
      readonly units: number;
    }
  | { readonly kind: 'hidden' | 'both'; readonly hidden: number }
  | { readonly kind: 'literal' };

export type GateShape = GateSpec & {
  /** Forget experts and the null slot, which is the first. */
  readonly slots: number;
};

export function gateWeightShapes(shape: GateShape): GateOf<number[]> {
  const { kind, slots } = shape;
  switch (kind) {
    case 'global': {
      const { hidden, units } = shape;
      const inner = [units, hidden];
      return { kind, mean: inner, now: inner, bias: [units], out: [slots, units], outBias: [slots] };
    }
    case 'hidden':
      return { kind, out: [slots, shape.hidden], outBias: [slots] };
    case 'both':
      return { kind, out: [slots, shape.hidden], entropy: [slots, 1], outBias: [slots] };
    case 'literal':
      return { kind, entropy: [slots, 1] };
    default:
      return kind satisfies never;
  }
}

/** Of gates that are there: what they say of themselves. @param hidden size of the model's hidden states */
export function gateSpec(gate: GateOf<Float32Array>, hidden: number): GateSpec {
  const { kind } = gate;
  switch (kind) {
    case 'global':
      return { kind, hidden, units: gate.bias.length };
    case 'hidden':
    case 'both':
      return { kind, hidden };
    case 'literal':
      return { kind };
    default:
      return kind satisfies never;
  }
}

export function gateFrom<T>(kind: GateKind, weight: (name: GateWeightName) => T): GateOf<T> {
  return { kind, ...Object.fromEntries(GATE_WEIGHTS[kind].map((name) => [name, weight(name)])) } as GateOf<T>;
}

/** In the order in which they are stored. */
export function gateEntries<T>(gate: GateOf<T>): readonly (readonly [name: GateWeightName, weight: T])[] {
  const weights = gate as unknown as Readonly<Record<GateWeightName, T>>;
  return GATE_WEIGHTS[gate.kind].map((name) => [name, weights[name]] as const);
}
