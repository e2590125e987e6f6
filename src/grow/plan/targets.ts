import type { ModelConfig, StoredType } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import { rounded } from '../digits.ts';
import type { GrowPlan, OutputType, TargetName } from '../types.ts';
import { isCorrection, rhoOf } from './rules.ts';

/** A plan that a layout of checkpoints can carry: everything that was left open is decided. */
export interface Fit {
  readonly target: TargetName;
  /** Layers that become mixtures, ascending. */
  readonly layers: readonly number[];
  /** Of all tensors that are written. */
  readonly type: OutputType;
  /** The output matrix is stored beside an embedding that it was tied to. */
  readonly untie: boolean;
  /** qwen2_moe: every entry of the shared expert's gate row; 0 makes sigmoid(x · gate) 1/2 exactly. */
  readonly sharedGate: number;
  /** Whether the weights of a token's experts are divided by their sum, as the method has it. */
  readonly renormalise: boolean;
  /** What was decided or given up, and why, a sentence each. */
  readonly notes: readonly string[];
}

/** Below it a folded correction is lost in the rounding of W + correction: cosine 0.99 between what is meant and what is left. */
const LEAST_RHO: Readonly<Record<OutputType, number>> = { bf16: 1e-2, f16: 1.25e-3, f32: 0 };
/** The gate row that llama.cpp needs in place of zeros: it computes sigmoid(x) as silu(x) / x. */
const TINY_GATE = 1e-6;

/**
 * Decides target, element type and layers for a dense model, and refuses what would not be exact.
 *
 * @param stored element type of the source's feed-forward weights
 * @throws E_TARGET with a sentence why
 */
export function fitTarget(
  config: ModelConfig,
  stored: StoredType,
  plan: GrowPlan,
  layers: readonly number[],
  options: { readonly gguf?: boolean } = {},
): Fit {
  const notes: string[] = [];
  if (config.moe !== null) throw unfit('The model is a mixture of experts already.', 'Grow a dense model.');
  if (config.mlpBias) {
    throw unfit('Its feed-forward layers have biases, which no layout of experts holds.', 'Choose another model.');
  }
  if (layers.length === 0) throw unfit('No layer is chosen.', 'Choose `layers` that the model has.');
  if (config.rope.frequencyDivisors !== null) {
    throw unfit(
      'Its GGUF file has RoPE frequencies baked in, which no config.json can express.',
      'Start from the safetensors of the model.',
    );
  }
  const all = layers.length === config.nLayers;
  const target = plan.target === 'auto' ? choose(config, plan, all) : plan.target;
  if (plan.target === 'auto') notes.push(`Target ${target}: ${REASONS[target]}`);
  RULES[target](config, plan, all);
  if (options.gguf) checkGguf(target, all, notes);

  const type = typeOf(stored, plan, notes);
  const untie = options.gguf === true && target === 'qwen2_moe' && config.tiedEmbeddings;
  if (untie)
    notes.push('The output matrix is stored apart from the embedding, because llama.cpp wants one for qwen2moe.');
  const renormalise = !(options.gguf === true && target === 'qwen2_moe');
  if (!renormalise) {
    need(
      plan.preserve === 'as-published' || isCorrection(plan.method),
      'llama.cpp does not divide the weights of qwen2moe by their sum, so copies do not add up to the dense output',
      'Use `preserve: as-published`, or another `target`.',
    );
    notes.push('norm_topk_prob is false, because llama.cpp never divides by the sum for qwen2moe: train it like that.');
  }
  const tiny = options.gguf === true && target === 'qwen2_moe';
  if (tiny) {
    notes.push(`The shared expert's gate is ${TINY_GATE} instead of 0, where llama.cpp would compute 0 / 0.`);
  }
  if (isCorrection(plan.method)) notes.push(...remarks(plan));
  return { target, layers, type, untie, sharedGate: tiny ? TINY_GATE : 0, renormalise, notes };
}

/** What of corrections may surprise. */
function remarks(plan: GrowPlan): string[] {
  const { anchor, placement, normalise } = plan;
  const list: string[] = [];
  if (placement.length > 1 && normalise !== 'none') {
    const how = anchor === 'folded' ? 'they add up' : 'they multiply';
    list.push(
      `Each of ${placement.length} corrections has the size ${rounded(rhoOf(plan))}, because ${how}: together about rho.`,
    );
  }
  if (anchor === 'none')
    list.push('The dense feed-forward is nowhere in the result: it starts with the corrections alone.');
  if (anchor === 'routed')
    list.push('The dense feed-forward is one of the routed experts: tokens that miss it start with corrections alone.');
  return list;
}

const REASONS: Readonly<Record<TargetName, string>> = {
  granitemoeshared:
    'stock loaders compute its shared expert without a gate and softmax over the chosen, as the method does.',
  mixtral: 'it has no shared expert, so the dense weights are folded into the routed ones.',
  qwen2_moe:
    'it has the biases of q, k and v, and a shared expert whose gate of zero halves a doubled down projection.',
  qwen3_moe: 'it has the norms of q and k, and no shared expert, so the dense weights are folded into the routed ones.',
  espalier: 'no stock layout holds this model with this anchor on these layers exactly; only Espalier reads it.',
};

function choose(config: ModelConfig, plan: GrowPlan, all: boolean): TargetName {
  const plain = !config.qkNorm && !config.qkvBias && !config.outputBias && !windowed(config) && fullRotary(config);
  if (plan.anchor === 'shared') {
    if (plain && all && squareHeads(config)) return 'granitemoeshared';
    if (config.architecture === 'qwen2' && squareHeads(config) && !windowed(config)) return 'qwen2_moe';
    return 'espalier';
  }
  if (all && !config.qkNorm && !config.qkvBias && !config.outputBias && fullRotary(config) && evenWindow(config)) {
    return 'mixtral';
  }
  return config.qkNorm && !windowed(config) ? 'qwen3_moe' : 'espalier';
}

type Rule = (config: ModelConfig, plan: GrowPlan, all: boolean) => void;

const RULES: Readonly<Record<TargetName, Rule>> = {
  granitemoeshared: (config, plan, all) => {
    need(
      plan.anchor === 'shared',
      'granitemoeshared has a shared expert',
      'Use `anchor: shared`, or `target: mixtral`.',
    );
    need(all, 'granitemoeshared has experts in every layer', 'Grow every layer (`layers`), or use `target: espalier`.');
    need(!config.qkNorm, 'granitemoeshared has no norms of q and k', 'Use `target: qwen3_moe` or `target: espalier`.');
    need(!windowed(config), 'granitemoeshared has no sliding window', 'Use `target: espalier`.');
    need(fullRotary(config), 'granitemoeshared rotates whole heads', 'Use `target: espalier`.');
    need(
      squareHeads(config),
      'granitemoeshared takes the head size from hidden size and heads',
      'Use `target: espalier`.',
    );
  },
  mixtral: (config, plan, all) => {
    need(
      plan.anchor !== 'shared',
      'mixtral has no shared expert',
      'Use `anchor: folded`, or `target: granitemoeshared`.',
    );
    need(all, 'mixtral has experts in every layer', 'Grow every layer (`layers`), or use `target: espalier`.');
    need(!config.qkNorm, 'mixtral has no norms of q and k', 'Use `target: qwen3_moe`.');
    need(!config.qkvBias && !config.outputBias, 'mixtral has no biases', 'Use `target: espalier`.');
    need(evenWindow(config), 'all layers of mixtral share one window', 'Use `target: espalier`.');
    need(fullRotary(config), 'mixtral rotates whole heads', 'Use `target: espalier`.');
  },
  qwen2_moe: (config, plan) => {
    need(plan.anchor === 'shared', 'qwen2_moe has a shared expert', 'Use `anchor: shared`, or `target: espalier`.');
    need(!config.qkNorm, 'qwen2_moe has no norms of q and k', 'Use `target: qwen3_moe` or `target: espalier`.');
    need(!config.outputBias, 'qwen2_moe has no bias of o', 'Use `target: espalier`.');
    need(!windowed(config), 'loaders disagree on the sliding windows of qwen2_moe', 'Use `target: espalier`.');
    need(fullRotary(config), 'qwen2_moe rotates whole heads', 'Use `target: espalier`.');
    need(squareHeads(config), 'qwen2_moe takes the head size from hidden size and heads', 'Use `target: espalier`.');
  },
  qwen3_moe: (config, plan) => {
    need(plan.anchor !== 'shared', 'qwen3_moe has no shared expert', 'Use `anchor: folded`, or `target: espalier`.');
    need(config.qkNorm, 'qwen3_moe norms q and k, and no weight makes a norm do nothing', 'Use `target: mixtral`.');
    need(!windowed(config), 'loaders disagree on the sliding windows of qwen3_moe', 'Use `target: espalier`.');
    need(fullRotary(config), 'qwen3_moe rotates whole heads', 'Use `target: espalier`.');
  },
  espalier: () => {},
};

function checkGguf(target: TargetName, all: boolean, notes: string[]): void {
  need(target !== 'espalier', 'no architecture of llama.cpp is like it', 'Use a stock `target` for GGUF.');
  need(all, 'llama.cpp wants experts in every layer', 'Grow every layer (`layers`) for GGUF.');
  notes.push('Fit for conversion to GGUF: experts in every layer.');
}

function typeOf(stored: StoredType, plan: GrowPlan, notes: string[]): OutputType {
  const corrected = plan.method === 'spri' || plan.method === 'scaled-copy';
  const rho = rhoOf(plan);
  const folded = plan.anchor === 'folded' && corrected && rho > 0 && plan.normalise !== 'none';
  const own: OutputType = stored === 'f32' || stored === 'f16' || stored === 'bf16' ? stored : 'bf16';
  const wanted = plan.dtype === 'auto' ? own : plan.dtype;
  if (stored !== own)
    notes.push(`The source is quantised (${stored}); its weights are written dequantised, as ${wanted}.`);
  if (!folded || rho >= LEAST_RHO[wanted]) return wanted;
  const why = `a correction of size ${rounded(rho)} folded into the weights is lost in the rounding of ${wanted}`;
  if (plan.dtype !== 'auto') {
    const least = rounded((LEAST_RHO[wanted] * plan.rho) / rho);
    need(false, why, `Use a \`rho\` of at least ${least}, \`dtype: f32\`, or \`anchor: shared\`.`);
  }
  notes.push(`Written as f32: ${why}.`);
  return 'f32';
}

/** Whether any query sees less than all before it. */
function windowed(config: ModelConfig): boolean {
  const { slidingWindow: window, maxPositions } = config;
  return window !== null && window < maxPositions;
}

function evenWindow(config: ModelConfig): boolean {
  return !windowed(config) || config.windowLayers.length === config.nLayers;
}

function fullRotary(config: ModelConfig): boolean {
  return config.rope.rotaryDims === config.headDim;
}

function squareHeads(config: ModelConfig): boolean {
  return config.headDim * config.nHeads === config.hiddenSize;
}

function need(holds: boolean, why: string, hint: string): void {
  if (!holds) throw unfit(`This result would not be exact: ${why}.`, hint);
}

function unfit(message: string, hint: string): EspalierError {
  return new EspalierError('E_TARGET', message, hint);
}
