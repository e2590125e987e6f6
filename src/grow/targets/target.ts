import type { ModelConfig } from '../../checkpoint/types.ts';
import type { LayerBiases, Trait } from './traits.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Tensor names of a layer's mixture, behind `model.layers.L.`. */
export interface ExpertNames {
  readonly router: string;
  readonly experts: RoutedNames;
  /** Null: the target has no shared expert. */
  readonly shared: SharedNames | null;
  /** The row [1, d] whose sigmoid multiplies the shared expert, which is stored twice as large, since a row of zeros halves it; null: none. */
  readonly sharedGate: string | null;
}

export type RoutedNames =
  /** All experts in one: gate above up [E, 2 f, d], and down [E, d, f]. */
  | { readonly kind: 'fused'; readonly input: string; readonly output: string }
  | { readonly kind: 'each'; readonly of: (expert: number) => ProjectionNames };

export type SharedNames =
  /** Gate above up [2 s, d], and down [d, s]. */
  | { readonly kind: 'fused'; readonly input: string; readonly output: string }
  | ({ readonly kind: 'each' } & ProjectionNames);

/** Gate and up [f, d], down [d, f]. */
export interface ProjectionNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

/** What llama.cpp makes of a target, once it is converted. */
export interface GgufTarget {
  /** What it calls the architecture. */
  readonly name: string;
  /** Whether it wants an output matrix beside an embedding that is one. */
  readonly untie: boolean;
  /** Whether it divides the weights of a token's experts by their sum. */
  readonly renormalises: boolean;
  /** Entries of the shared expert's gate row, and why they are not 0. */
  readonly sharedGate: { readonly value: number; readonly why: string } | null;
}

/** What a target's config.json is made from. */
export interface TargetFacts {
  /** Of the dense model. */
  readonly config: ModelConfig;
  /** Layers that became mixtures, ascending. */
  readonly layers: readonly number[];
  /** Routed experts of a layer, inner size of each, and of the shared one (0: there is none). */
  readonly experts: number;
  readonly expertSize: number;
  readonly sharedSize: number;
  readonly topK: number;
  /** Whether the weights of a token's experts are divided by their sum. */
  readonly renormalise: boolean;
  /** Factor of the load-balancing loss when it is trained. */
  readonly loadBalance: number;
}

/** A layout of checkpoints: what it can hold exactly, and how it is written. */
export interface Target {
  /** `architectures` and `model_type` of config.json. */
  readonly className: string;
  readonly modelType: string;
  /** Why `auto` takes it, a sentence. */
  readonly reason: string;
  /** Whether its layers have a shared expert that every token passes. */
  readonly shared: 'always' | 'never' | 'optional';
  /** Whether every layer must have experts. */
  readonly everyLayer: boolean;
  /** What its layers may have beyond plain ones. What is not here is refused. */
  readonly holds: readonly Trait[];
  /** Sentences on what it does not hold, behind its name; default "has no …". */
  readonly lacks?: Partial<Readonly<Record<Trait, string>>>;
  /** What its layers have in any case, and no weight makes do nothing: a sentence behind its name. */
  readonly needs?: Partial<Readonly<Record<Trait, string>>>;
  /** Of models that it holds, whether `auto` takes it for one. */
  auto(traits: ReadonlySet<Trait>): boolean;
  /** Biases that its layers have; those that the dense model has not are zeros. */
  biases(config: ModelConfig): LayerBiases;
  readonly names: ExpertNames;
  /** Null: no architecture of llama.cpp is like it. */
  readonly gguf: GgufTarget | null;
  /** Its own keys of config.json, beside those that all targets have; one that is there too goes before. */
  config(facts: TargetFacts): Json;
}

/** Of llama.cpp, where nothing is to be adapted. */
export function plainGguf(name: string): GgufTarget {
  return { name, untie: false, renormalises: true, sharedGate: null };
}

/** `attention_bias`: of q, k, v and o alike. */
export function allBiases({ qkvBias, outputBias }: ModelConfig): LayerBiases {
  const any = qkvBias || outputBias;
  return { qkv: any, output: any };
}

/** Qwen's names, which our own layout has too. */
export const QWEN_NAMES = {
  router: 'mlp.gate.weight',
  experts: {
    kind: 'each',
    of: (expert) => ({
      gate: `mlp.experts.${expert}.gate_proj.weight`,
      up: `mlp.experts.${expert}.up_proj.weight`,
      down: `mlp.experts.${expert}.down_proj.weight`,
    }),
  },
  shared: {
    kind: 'each',
    gate: 'mlp.shared_expert.gate_proj.weight',
    up: 'mlp.shared_expert.up_proj.weight',
    down: 'mlp.shared_expert.down_proj.weight',
  },
  sharedGate: null,
} as const satisfies ExpertNames;

/** The rule of the Qwen family: `l not in mlp_only_layers and (l + 1) % decoder_sparse_step == 0`. */
export function sparseLayers({ config: { nLayers }, layers }: TargetFacts): Json {
  const step = layers[0]! + 1;
  const even = Array.from({ length: Math.floor(nLayers / step) }, (_, i) => (i + 1) * step - 1);
  if (even.length === layers.length && even.every((layer, i) => layer === layers[i])) {
    return { decoder_sparse_step: step, mlp_only_layers: [] };
  }
  const dense = Array.from({ length: nLayers }, (_, layer) => layer).filter((layer) => !layers.includes(layer));
  return { decoder_sparse_step: 1, mlp_only_layers: dense };
}
