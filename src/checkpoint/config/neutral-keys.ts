/**
 * Keys that no answer depends on: where a file comes from, how it was trained, how its weights are stored, what other programs do with
 * it. They are not named as ignored, since every file has some.
 */
export const NEUTRAL: ReadonlySet<string> = new Set([
  '_attn_implementation_autoset',
  '_commit_hash',
  '_name_or_path',
  'architectures',
  'attention_dropout',
  'attn_implementation',
  'auto_map',
  'chunk_size_feed_forward',
  'dtype',
  'id2label',
  'initializer_range',
  'is_causal',
  'is_encoder_decoder',
  'label2id',
  'model_type',
  'name_or_path',
  'output_attentions',
  'output_hidden_states',
  'output_router_logits',
  'pretraining_tp',
  'return_dict',
  'router_aux_loss_coef',
  'router_jitter_noise',
  'torch_dtype',
  'transformers_version',
  'use_cache',
]);
