import { scalingKind } from '../../checkpoint/rope/scalings.ts';
import type { ModelConfig } from '../../checkpoint/types.ts';
import type { Fit } from '../plan/fit.ts';
import type { Json } from '../targets/target.ts';
import { targetOf } from '../targets/targets.ts';
import type { GrowPlan } from '../types.ts';

/** Sizes of what is grown. */
export interface ExpertSizes {
  /** Routed experts of a layer. */
  readonly experts: number;
  /** Inner size of a routed expert, and of the shared one; 0: there is none. */
  readonly expertSize: number;
  readonly sharedSize: number;
}

/** config.json of the grown model, with the names of transformers 4, which 5 reads too. */
export function outputConfig(config: ModelConfig, fit: Fit, plan: GrowPlan, sizes: ExpertSizes): Json {
  const { topK, trainPlan } = plan;
  const { layers, renormalise } = fit;
  const own = { config, layers, ...sizes, topK, renormalise, loadBalance: trainPlan.lambdaLoadBalance };
  return { ...common(config, fit), ...targetOf(fit.target).config(own) };
}

/** Its text. transformers 5 refuses whole numbers where it wants others, and JSON.stringify writes 1.0 as 1. */
export function configText(json: Json): string {
  const text = JSON.stringify(json, null, 2);
  return `${text.replace(/^( *"(?:rms_norm_eps|router_aux_loss_coef|rope_theta|factor)": )(-?\d+)(,?)$/gm, '$1$2.0$3')}\n`;
}

/** Of the shape of a model. */
export function shapeKeys(config: ModelConfig): Json {
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.nLayers,
    num_attention_heads: config.nHeads,
    num_key_value_heads: config.nKvHeads,
    head_dim: config.headDim,
    hidden_act: 'silu',
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.rope.theta,
  };
}

/** What every target has. */
function common(config: ModelConfig, fit: Fit): Json {
  const { eosIds } = config;
  const { className, modelType } = targetOf(fit.target);
  return {
    architectures: [className],
    model_type: modelType,
    ...shapeKeys(config),
    rope_scaling: scalingKind(config.rope.scaling).toJson(config.rope.scaling),
    tie_word_embeddings: config.tiedEmbeddings && !fit.untie,
    initializer_range: 0.02,
    bos_token_id: config.bosId,
    eos_token_id: eosIds.length === 0 ? null : eosIds.length === 1 ? eosIds[0] : eosIds,
    pad_token_id: config.padId,
    torch_dtype: { bf16: 'bfloat16', f16: 'float16', f32: 'float32' }[fit.type],
    use_cache: true,
  };
}
