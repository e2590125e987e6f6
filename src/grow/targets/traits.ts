import { ConfigKeys } from '../../checkpoint/config/keys.ts';
import { familyOf, isFamily } from '../../checkpoint/families/families.ts';
import type { ModelConfig, RopeConfig } from '../../checkpoint/types.ts';

/** Something that not every target computes. */
interface TraitRule {
  has(config: ModelConfig): boolean;
  /** Its name, behind "has no". */
  readonly what: string;
  /** What to do where no target has it. */
  readonly hint?: string;
}

/** What of a configuration decides how a layer computes. */
type Field = Exclude<keyof ModelConfig, 'rope'> | `rope.${keyof RopeConfig}`;

/** What the config.json of every target says, whatever stands there. */
const EVERYWHERE = {};

/**
 * What each field of a configuration may ask for beyond a plain layer: one that all targets compute. A target lists what it computes
 * of this; a model with anything else is refused, whatever its family is called. A field that is missing here does not compile.
 */
const FIELDS = {
  architecture: {
    noBase: { has: isNoBase, what: 'layers that `base_model_type` and `attention_bias` do not describe' },
  },
  vocabSize: EVERYWHERE,
  hiddenSize: EVERYWHERE,
  intermediateSize: EVERYWHERE,
  nLayers: EVERYWHERE,
  nHeads: EVERYWHERE,
  nKvHeads: EVERYWHERE,
  headDim: {
    ownHeadSize: {
      has: ({ headDim, nHeads, hiddenSize }) => headDim * nHeads !== hiddenSize,
      what: 'head size of its own',
    },
  },
  rmsNormEps: EVERYWHERE,
  maxPositions: EVERYWHERE,
  tiedEmbeddings: EVERYWHERE,
  headless: {
    headless: { has: ({ headless }) => headless, what: 'way to be without an output matrix' },
  },
  // a mixture is refused before
  moe: EVERYWHERE,
  bosId: EVERYWHERE,
  eosIds: EVERYWHERE,
  padId: EVERYWHERE,
  qkvBias: { qkvBias: { has: ({ qkvBias }) => qkvBias, what: 'biases of q, k and v' } },
  outputBias: { outputBias: { has: ({ outputBias }) => outputBias, what: 'bias of o' } },
  mlpBias: { mlpBias: { has: ({ mlpBias }) => mlpBias, what: 'biases in its feed-forward layers' } },
  qkNorm: { qkNorm: { has: ({ qkNorm }) => qkNorm, what: 'norms of q and k' } },
  postNorms: { postNorms: { has: ({ postNorms }) => postNorms, what: 'norms behind attention and feed-forward' } },
  normOffset: { normOffset: { has: ({ normOffset }) => normOffset !== 0, what: 'norms that are stored less 1' } },
  activation: { gelu: { has: ({ activation }) => activation !== 'silu', what: 'feed-forward gated by GELU' } },
  slidingWindow: { window: { has: windowed, what: 'sliding window' } },
  localRope: { localRope: { has: ({ localRope }) => localRope !== null, what: 'second RoPE' } },
  // empty but with a second RoPE
  localRopeLayers: EVERYWHERE,
  noRopeLayers: {
    noRope: { has: ({ noRopeLayers }) => noRopeLayers.length > 0, what: 'layers without RoPE' },
  },
  windowLayers: {
    mixedWindows: {
      has: (config) => windowed(config) && config.windowLayers.length !== config.nLayers,
      what: 'sliding window in some layers alone',
    },
  },
  embeddingScale: {
    embeddingScale: { has: ({ embeddingScale }) => embeddingScale !== 1, what: 'factor of the embeddings' },
  },
  residualScale: {
    residualScale: { has: ({ residualScale }) => residualScale !== 1, what: 'factor of what a block adds' },
  },
  logitScale: { logitScale: { has: ({ logitScale }) => logitScale !== 1, what: 'divisor of the logits' } },
  attentionScale: {
    attentionScale: {
      has: ({ attentionScale: scale, headDim }) => scale !== null && scale !== 1 / Math.sqrt(headDim),
      what: 'factor of its own for q · k',
    },
  },
  'rope.theta': EVERYWHERE,
  'rope.rotaryDims': {
    partialRotary: {
      has: ({ rope, headDim }) => rope.rotaryDims !== headDim,
      what: 'part of a head that does not rotate',
    },
  },
  'rope.layout': {
    neighbours: { has: ({ rope }) => rope.layout !== 'half', what: 'RoPE that turns neighbours' },
  },
  'rope.scaling': EVERYWHERE,
  'rope.frequencyDivisors': {
    bakedFrequencies: {
      has: ({ rope }) => rope.frequencyDivisors !== null,
      what: 'RoPE frequencies like those baked into its GGUF file',
      hint: 'Start from the safetensors of the model.',
    },
  },
} as const satisfies Readonly<Record<Field, Readonly<Record<string, TraitRule>>>>;

/** What a layer of a dense model may have that not every target computes. */
export type Trait = { [F in Field]: keyof (typeof FIELDS)[F] }[Field];

const TRAITS = Object.assign({}, ...Object.values(FIELDS)) as Readonly<Record<Trait, TraitRule>>;

/** What a model has beyond a plain layer. */
export function traitsOf(config: ModelConfig): ReadonlySet<Trait> {
  const all = Object.keys(TRAITS) as Trait[];
  return new Set(all.filter((trait) => TRAITS[trait].has(config)));
}

/** Its name, behind "has no". */
export function nameOf(trait: Trait): string {
  return TRAITS[trait].what;
}

/** What to do where no target has it. */
export function hintFor(trait: Trait): string {
  return TRAITS[trait].hint ?? 'Choose another model.';
}

/** Whether any query sees less than all before it. */
function windowed({ slidingWindow: window, maxPositions }: ModelConfig): boolean {
  return window !== null && window < maxPositions;
}

/** Biases that layers of our own configuration have, by the family that they are built like. */
export function baseBiases({ architecture, qkvBias, outputBias }: ModelConfig): LayerBiases {
  if (!isFamily(architecture)) return { qkv: false, output: false };
  const keys = new ConfigKeys({ attention_bias: qkvBias || outputBias }, 'config.json');
  const parts = familyOf(architecture).parts(keys);
  return { qkv: parts.qkvBias, output: parts.outputBias };
}

/** Biases of q, k and v, and of o. */
export interface LayerBiases {
  readonly qkv: boolean;
  readonly output: boolean;
}

/** Whether our own configuration cannot name the family, or would deny a bias that is there. */
function isNoBase(config: ModelConfig): boolean {
  const { architecture, qkvBias, outputBias } = config;
  if (!isFamily(architecture) || !familyOf(architecture).base) return true;
  const { qkv, output } = baseBiases(config);
  return (qkvBias && !qkv) || (outputBias && !output);
}
