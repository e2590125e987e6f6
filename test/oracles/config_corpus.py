"""Writes ../fixtures/configs/: what transformers computes from many variants of config.json over the same few weights.

<architecture>.safetensors: every tensor that any variant needs (biases, an output matrix, dense and expert layers), bf16.
corpus.json: ids; for each architecture its plain configuration and which tensors its files leave out; for each case what is set and
unset, or the file's text, which further tensors are left out or put back, and either log-probabilities of the ids after the first, or why
transformers refuses, fails, or lacks tensors (it fills what is missing with random numbers, which counts as failing here).

Usage: python test/oracles/config_corpus.py   (torch transformers safetensors)
"""

import json
import logging
import math
import pathlib
import re
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity(logging.CRITICAL)
torch.set_num_threads(1)
torch.set_grad_enabled(False)
OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "configs"
V, T = 48, 24
IDS = torch.randint(0, V, (T,), generator=torch.Generator().manual_seed(7)).tolist()
GONE = "\0gone"

# transformers 4 spells it so
BASE = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "float32",
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2}
ARCHITECTURES = {
    "llama": BASE,
    "mistral": BASE | {"sliding_window": 8, "head_dim": 8},
    "qwen2": BASE,
    "qwen3": BASE | {"head_dim": 8},
    "mixtral": BASE | EXPERTS | {"num_local_experts": 4, "head_dim": 8},
    "qwen2_moe": BASE | EXPERTS | {
        "num_experts": 4, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 16},
    "qwen3_moe": BASE | EXPERTS | {"num_experts": 4, "moe_intermediate_size": 8, "head_dim": 8},
    "granitemoeshared": BASE | EXPERTS | {"num_local_experts": 4, "shared_intermediate_size": 16},
    "smollm3": BASE | {"pad_token_id": 0},
    "gemma3_text": {k: v for k, v in BASE.items() if k != "hidden_act"} | {
        "hidden_activation": "gelu_pytorch_tanh", "head_dim": 8, "query_pre_attn_scalar": 12, "sliding_window": 8,
        "sliding_window_pattern": 2, "rope_local_base_freq": 100.0},
}  # fmt: skip
# what makes the class ask for as many tensors as it can
MOST = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "qwen3": {"attention_bias": True},
    "qwen3_moe": {"attention_bias": True},
    "granitemoeshared": {"attention_bias": True},
    "smollm3": {"attention_bias": True, "mlp_bias": True},
    "gemma3_text": {"attention_bias": True},
}
# what files leave out unless a case says otherwise
DROP = {name: [r"^lm_head\.", r"\.bias$"] for name in ARCHITECTURES}
DROP["qwen2"] = DROP["qwen2_moe"] = [r"^lm_head\."]
for name in ("qwen2_moe", "qwen3_moe"):
    DROP[name] = DROP[name] + [r"\.mlp\.(gate|up|down)_proj\."]
QWEN = ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe")
MOE = ("mixtral", "qwen2_moe", "qwen3_moe", "granitemoeshared")

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip


def without(d, *keys):
    return {k: v for k, v in d.items() if k not in keys}


# (name, what is set, keep: tensors that DROP would leave out, drop: more of them)
COMMON = [
    ("as it is", {}),
    ("5.x spelling", {"rope_theta": GONE, "torch_dtype": GONE, "dtype": "float32",
                      "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}),
    ("5.x without a base", {"rope_theta": GONE, "rope_parameters": {"rope_type": "default"}}),
    ("5.x without a type", {"rope_theta": GONE, "rope_parameters": {"rope_theta": 300.0}}),
    ("both: base outside and inside", {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}),
    ("both: base outside only", {"rope_parameters": {"rope_type": "default"}}),
    ("both: scaling and parameters", {"rope_scaling": {"type": "linear", "factor": 2.0},
                                      "rope_parameters": YARN | {"rope_theta": 300.0}}),
    ("both: empty scaling", {"rope_scaling": {}, "rope_parameters": YARN | {"rope_theta": 300.0}}),
    ("both: null scaling", {"rope_scaling": None, "rope_parameters": YARN | {"rope_theta": 300.0}}),
    ("both: scaling, null parameters", {"rope_scaling": YARN, "rope_parameters": None}),
    ("parameters of nothing", {"rope_parameters": {}}),
    ("no base", {"rope_theta": GONE}),
    ("base null", {"rope_theta": None}),
    ("base a whole number", {"rope_theta": 5000}),
    ("base as text", {"rope_theta": "5000"}),
    ("base true", {"rope_theta": True}),
    ("base inside null", {"rope_parameters": {"rope_type": "default", "rope_theta": None}}),
    ("linear, old type key", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    ("linear, new type key", {"rope_scaling": {"rope_type": "linear", "factor": 2}}),
    ("both type keys", {"rope_scaling": {"type": "linear", "rope_type": "yarn", "factor": 4.0}}),
    ("type key null", {"rope_scaling": {"type": None, "factor": 2.0}}),
    ("rope_type null", {"rope_scaling": {"rope_type": None, "type": "linear", "factor": 2.0}}),
    ("linear without a factor", {"rope_scaling": {"type": "linear"}}),
    ("linear, factor null", {"rope_scaling": {"type": "linear", "factor": None}}),
    ("linear, factor as text", {"rope_scaling": {"type": "linear", "factor": "2"}}),
    ("linear, factor below one", {"rope_scaling": {"type": "linear", "factor": 0.5}}),
    ("scaling without a type", {"rope_scaling": {"factor": 2.0}}),
    ("scaling of type mrope", {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}),
    ("scaling of type default and a section", {"rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]}}),
    ("longrope", {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
                                   "original_max_position_embeddings": 16}}),
    ("proportional", {"rope_parameters": {"rope_type": "proportional", "rope_theta": 5000.0}}),
    ("llama3", {"rope_scaling": LLAMA3}),
    ("llama3 without an original context", {"rope_scaling": without(LLAMA3, "original_max_position_embeddings")}),
    ("llama3 without a low factor", {"rope_scaling": without(LLAMA3, "low_freq_factor")}),
    ("original context outside", {"rope_scaling": LLAMA3, "original_max_position_embeddings": 32}),
    ("original context outside only", {"rope_scaling": without(LLAMA3, "original_max_position_embeddings"),
                                       "original_max_position_embeddings": 32}),
    ("dynamic, within", {"rope_scaling": {"type": "dynamic", "factor": 4.0}}),
    ("yarn", {"rope_scaling": YARN}),
    ("yarn, 5.x", {"rope_theta": GONE, "rope_parameters": YARN | {"rope_theta": 300.0}}),
    ("yarn, attention factor", {"rope_scaling": YARN | {"attention_factor": 0.7}}),
    ("yarn, attention factor of zero", {"rope_scaling": YARN | {"attention_factor": 0.0}}),
    ("yarn, betas", {"rope_scaling": YARN | {"beta_fast": 8, "beta_slow": 0.5}}),
    ("yarn, betas of zero", {"rope_scaling": YARN | {"beta_fast": 0, "beta_slow": 0}}),
    ("yarn, mscale", {"rope_scaling": YARN | {"mscale": 0.7, "mscale_all_dim": 1.4}}),
    ("yarn, one mscale", {"rope_scaling": YARN | {"mscale": 0.7}}),
    ("yarn, mscale of zero", {"rope_scaling": YARN | {"mscale": 0.7, "mscale_all_dim": 0}}),
    ("yarn, not truncated", {"rope_scaling": YARN | {"truncate": False}}),
    ("yarn, truncate null", {"rope_scaling": YARN | {"truncate": None}}),
    ("yarn, without a factor", {"rope_scaling": without(YARN, "factor")}),
    ("yarn, factor null", {"rope_scaling": YARN | {"factor": None}}),
    ("yarn, factor below one", {"rope_scaling": YARN | {"factor": 0.5}}),
    ("yarn, without an original context", {"rope_scaling": without(YARN, "original_max_position_embeddings")}),
    ("yarn, betas turned round", {"rope_scaling": YARN | {"beta_fast": 1, "beta_slow": 32}}),
    ("yarn, unknown key", {"rope_scaling": YARN | {"finetuned": True}}),
    ("partial rotary", {"partial_rotary_factor": 0.5}),
    ("partial rotary inside", {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0,
                                                   "partial_rotary_factor": 0.5}}),
    ("partial rotary, linear", {"partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 2.0}}),
    ("rotary_pct", {"rotary_pct": 0.25}),
    ("by layer types", {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 300.0}}}),
    ("scaling a list", {"rope_scaling": [1]}),
    ("scaling a text", {"rope_scaling": "linear"}),
    ("untied with its own", {"tie_word_embeddings": False}, [r"^lm_head\."]),
    ("tied with another of its own", {}, [r"^lm_head\."]),
    ("untied without", {"tie_word_embeddings": False}),
    ("no tie flag, own", {"tie_word_embeddings": GONE}, [r"^lm_head\."]),
    ("no tie flag, none", {"tie_word_embeddings": GONE}),
    ("tie flag null", {"tie_word_embeddings": None}, [r"^lm_head\."]),
    ("tie flag 1", {"tie_word_embeddings": 1}, [r"^lm_head\."]),
    ("head dim null", {"head_dim": None}),
    ("head dim given", {"head_dim": 8}),
    ("head dim absent", {"head_dim": GONE}),
    ("head dim another", {"head_dim": 16}),
    ("head dim fractional", {"head_dim": 8.0}),
    ("more heads", {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": GONE}),
    ("more heads, head dim 4", {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 4}),
    ("heads that do not divide", {"num_attention_heads": 5, "head_dim": GONE}),
    ("key heads null", {"num_key_value_heads": None}),
    ("key heads absent", {"num_key_value_heads": GONE}),
    ("key heads that do not divide", {"num_key_value_heads": 3}),
    ("act swish", {"hidden_act": "swish"}),
    ("act absent", {"hidden_act": GONE}),
    ("act gelu", {"hidden_act": "gelu"}),
    ("act unknown", {"hidden_act": "nothing"}),
    ("act null", {"hidden_act": None}),
    ("eps absent", {"rms_norm_eps": GONE}),
    ("eps 1e-2", {"rms_norm_eps": 1e-2}),
    ("eps a whole number", {"rms_norm_eps": 1}),
    ("eps as text", {"rms_norm_eps": "1e-5"}),
    ("eps null", {"rms_norm_eps": None}),
    ("layer_norm_eps", {"layer_norm_eps": 0.1, "rms_norm_epsilon": 0.1, "norm_eps": 0.1}),
    ("context absent", {"max_position_embeddings": GONE}),
    ("context null", {"max_position_embeddings": None}),
    ("fewer layers", {"num_hidden_layers": 2}),
    ("more layers", {"num_hidden_layers": 4}),
    ("layers true", {"num_hidden_layers": True}),
    ("layers as text", {"num_hidden_layers": "3"}),
    ("layers fractional", {"num_hidden_layers": 3.0}),
    ("hidden absent", {"hidden_size": GONE}),
    ("hidden null", {"hidden_size": None}),
    ("inner absent", {"intermediate_size": GONE}),
    ("inner another", {"intermediate_size": 16}),
    ("heads absent", {"num_attention_heads": GONE}),
    ("layers absent", {"num_hidden_layers": GONE}),
    ("vocabulary absent", {"vocab_size": GONE}),
    ("vocabulary smaller", {"vocab_size": V - 1}),
    ("vocabulary larger", {"vocab_size": V + 1}),
    ("vocabulary negative", {"vocab_size": -1}),
    ("attention bias", {"attention_bias": True}),
    ("attention bias, with biases", {"attention_bias": True}, [r"\.bias$"], [r"\.mlp\..*bias$"]),
    ("attention bias null", {"attention_bias": None}),
    ("attention bias 1", {"attention_bias": 1}),
    ("attention bias text", {"attention_bias": "true"}),
    ("mlp bias", {"mlp_bias": True}),
    ("qkv bias off", {"qkv_bias": False}),
    ("qkv bias off, without", {"qkv_bias": False}, [], [r"\.bias$"]),
    ("window", {"sliding_window": 5}),
    ("window null", {"sliding_window": None}),
    ("window absent", {"sliding_window": GONE}),
    ("window of zero", {"sliding_window": 0}),
    ("window negative", {"sliding_window": -1}),
    ("window as text", {"sliding_window": "5"}),
    ("window fractional", {"sliding_window": 5.0}),
    ("window used", {"sliding_window": 5, "use_sliding_window": True}),
    ("window used, from 0", {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 0}),
    ("window used, from 1", {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 1}),
    ("window used, from 99", {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 99}),
    ("window used, from -1", {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": -1}),
    ("window used, null", {"sliding_window": None, "use_sliding_window": True, "max_window_layers": 1}),
    ("window not used, from 1", {"sliding_window": 5, "use_sliding_window": False, "max_window_layers": 1}),
    ("use_sliding_window null", {"sliding_window": 5, "use_sliding_window": None}),
    ("layer types, all full", {"layer_types": ["full_attention"] * 3}),
    ("layer types, all full, window used",
     {"layer_types": ["full_attention"] * 3, "sliding_window": 5, "use_sliding_window": True, "max_window_layers": 0}),
    ("layer types, all sliding",
     {"layer_types": ["sliding_attention"] * 3, "sliding_window": 5, "use_sliding_window": True}),
    ("layer types, last sliding",
     {"layer_types": ["full_attention", "full_attention", "sliding_attention"], "sliding_window": 5,
      "use_sliding_window": True}),
    ("layer types, first sliding",
     {"layer_types": ["sliding_attention", "full_attention", "full_attention"], "sliding_window": 5,
      "use_sliding_window": True}),
    ("layer types, alternating",
     {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "sliding_window": 5,
      "use_sliding_window": True}),
    ("layer types, sliding, not used", {"layer_types": ["sliding_attention"] * 3, "sliding_window": 5}),
    ("layer types, legacy name", {"layer_types": ["attention"] * 3}),
    ("layer types, other kind", {"layer_types": ["chunked_attention"] * 3}),
    ("layer types, unknown", {"layer_types": ["x"] * 3}),
    ("layer types, too few", {"layer_types": ["full_attention"] * 2}),
    ("layer types, null", {"layer_types": None}),
    ("layer types, a text", {"layer_types": "full_attention"}),
    ("not causal", {"is_causal": False}),
    ("chunked", {"attention_chunk_size": 4}),
    ("layers of their own", {"per_layer_config": {"1": {"rms_norm_eps": 0.5}}}),
    ("ids null", {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}),
    ("ids absent", {"bos_token_id": GONE, "eos_token_id": GONE}),
    ("ids beyond", {"bos_token_id": V, "eos_token_id": [1, V + 3]}),
    ("pad beyond", {"pad_token_id": V}),
    ("pad -1", {"pad_token_id": -1}),
    ("pad 3", {"pad_token_id": 3}),
    ("eos a list", {"eos_token_id": [1, 2]}),
    ("bos a list", {"bos_token_id": [0]}),
    ("eos as text", {"eos_token_id": "1"}),
    ("eos fractional", {"eos_token_id": 1.0}),
    ("eos true", {"eos_token_id": True}),
    ("multipliers", {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5,
                     "attention_multiplier": 0.2}),
    ("multipliers whole", {"embedding_multiplier": 3, "residual_multiplier": 1, "logits_scaling": 2,
                           "attention_multiplier": 1}),
    ("multiplier null", {"embedding_multiplier": None}),
    ("multiplier zero", {"logits_scaling": 0}),
    ("multiplier negative", {"logits_scaling": -2.0}),
    ("attention multiplier zero", {"attention_multiplier": 0.0}),
    ("training keys", {"initializer_range": 0.5, "attention_dropout": 0.3, "use_cache": False, "pretraining_tp": 2,
                       "router_aux_loss_coef": 0.5, "router_jitter_noise": 0.9, "output_router_logits": True}),
    ("unknown keys", {"some_scale": 3.0, "rope_interleaved": True, "qk_layernorm": True, "use_qk_norm": True,
                      "final_logit_softcapping": 3.0, "attn_logit_softcapping": 3.0, "scale_emb": 12}),
    ("generation keys", {"temperature": 0.3, "repetition_penalty": 2.0, "num_beams": 4}),
]  # fmt: skip
EXPERT = [
    ("one expert a token", {"num_experts_per_tok": 1}),
    ("all experts a token", {"num_experts_per_tok": 4}),
    ("too many a token", {"num_experts_per_tok": 5}),
    ("no expert a token", {"num_experts_per_tok": 0}),
    ("experts a token null", {"num_experts_per_tok": None}),
    ("experts a token absent", {"num_experts_per_tok": GONE}),
    ("experts a token as text", {"num_experts_per_tok": "2"}),
    ("fewer experts", {"num_experts": 3}),
    ("fewer local experts", {"num_local_experts": 3}),
    ("both expert counts", {"num_experts": 4, "num_local_experts": 4}),
    ("both expert counts, num_experts wrong", {"num_experts": 3, "num_local_experts": 4}),
    ("both expert counts, num_local_experts wrong", {"num_experts": 4, "num_local_experts": 3}),
    ("only num_local_experts", {"num_experts": GONE, "num_local_experts": 4}),
    ("only num_experts", {"num_experts": 4, "num_local_experts": GONE}),
    ("norm_topk_prob", {"norm_topk_prob": True}),
    ("norm_topk_prob null", {"norm_topk_prob": None}),
    ("norm_topk_prob off", {"norm_topk_prob": False}),
    ("sparse step 2", {"decoder_sparse_step": 2}, [r"\.[02]\.mlp\.(gate|up|down)_proj\."],
     [r"\.[02]\.mlp\.(experts|gate\.|shared_expert)"]),
    ("sparse step 0", {"decoder_sparse_step": 0}),
    ("mlp_only_layers", {"mlp_only_layers": [1]}, [r"\.1\.mlp\.(gate|up|down)_proj\."],
     [r"\.1\.mlp\.(experts|gate\.|shared_expert)"]),
    ("mlp_only_layers beyond", {"mlp_only_layers": [7, -1]}),
    ("mlp_only_layers null", {"mlp_only_layers": None}),
    ("mlp_only_layers a number", {"mlp_only_layers": 1}),
    ("expert size absent", {"moe_intermediate_size": GONE}),
    ("expert size another", {"moe_intermediate_size": 4}),
    ("shared size absent", {"shared_expert_intermediate_size": GONE, "shared_intermediate_size": GONE}),
    ("shared size another", {"shared_expert_intermediate_size": 8, "shared_intermediate_size": 8}),
    ("scoring keys", {"scoring_func": "sigmoid", "routed_scaling_factor": 2.5, "n_group": 2, "topk_group": 1}),
]  # fmt: skip

FULL, SLIDING = "full_attention", "sliding_attention"
OWN = {
    "smollm3": [
        ("no RoPE by list", {"no_rope_layers": [1, 0, 1]}),
        ("no RoPE by list, all rotate", {"no_rope_layers": [1, 1, 1]}),
        ("no RoPE by list, none rotates", {"no_rope_layers": [0, 0, 0]}),
        ("no RoPE by list, other numbers", {"no_rope_layers": [2, 0, -1]}),
        ("no RoPE list too short", {"no_rope_layers": [1, 0]}),
        ("no RoPE list too long", {"no_rope_layers": [0, 1, 1, 0, 0]}),
        ("no RoPE list empty", {"no_rope_layers": []}),
        ("no RoPE list null", {"no_rope_layers": None}),
        ("no RoPE list of flags", {"no_rope_layers": [True, False, True]}),
        ("no RoPE interval 2", {"no_rope_layer_interval": 2}),
        ("no RoPE interval 1", {"no_rope_layer_interval": 1}),
        ("no RoPE interval 0", {"no_rope_layer_interval": 0}),
        ("no RoPE interval -2", {"no_rope_layer_interval": -2}),
        ("no RoPE interval null", {"no_rope_layer_interval": None}),
        ("no RoPE interval beside a list", {"no_rope_layer_interval": 0, "no_rope_layers": [0, 1, 1]}),
        ("windows where there is no RoPE",
         {"use_sliding_window": True, "sliding_window": 5, "no_rope_layers": [1, 0, 1]}),
        ("windows where there is no RoPE, by interval",
         {"use_sliding_window": True, "sliding_window": 5, "no_rope_layer_interval": 2}),
        ("windows not used, without RoPE", {"sliding_window": 5, "no_rope_layers": [1, 0, 1]}),
        ("windows by type, not where there is no RoPE",
         {"use_sliding_window": True, "sliding_window": 5, "no_rope_layers": [1, 0, 1],
          "layer_types": [SLIDING, FULL, SLIDING]}),
        ("windows by type, not used", {"sliding_window": 5, "layer_types": [SLIDING, FULL, SLIDING]}),
        ("yarn without RoPE in a layer", {"rope_scaling": YARN, "no_rope_layers": [1, 0, 1]}),
    ],
    "gemma3_text": [
        ("pattern 3", {"sliding_window_pattern": 3}),
        ("pattern 1", {"sliding_window_pattern": 1}),
        ("pattern 0", {"sliding_window_pattern": 0}),
        ("pattern null", {"sliding_window_pattern": None}),
        ("pattern absent", {"sliding_window_pattern": GONE}),
        ("pattern as 5.x keeps it", {"sliding_window_pattern": GONE, "_sliding_window_pattern": 2}),
        ("pattern beside types", {"sliding_window_pattern": 2, "layer_types": [FULL, SLIDING, FULL]}),
        ("pattern 1 without a window", {"sliding_window_pattern": 1, "sliding_window": None}),
        ("local base absent", {"rope_local_base_freq": GONE}),
        ("local base null", {"rope_local_base_freq": None}),
        ("both ropes, 5.x", {"rope_theta": GONE, "rope_local_base_freq": GONE, "rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": 3000.0},
            SLIDING: {"rope_type": "default", "rope_theta": 70.0}}}),
        ("both ropes, 5.x, beside bases", {"rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": 3000.0},
            SLIDING: {"rope_type": "default", "rope_theta": 70.0}}}),
        ("both ropes, 5.x, without bases inside", {"rope_parameters": {
            FULL: {"rope_type": "default"}, SLIDING: {"rope_type": "default"}}}),
        ("both ropes, 5.x, scaled", {"rope_theta": GONE, "rope_local_base_freq": GONE, "rope_parameters": {
            FULL: {"rope_type": "linear", "factor": 4.0, "rope_theta": 3000.0},
            SLIDING: {"rope_type": "default", "rope_theta": 70.0}}}),
        ("both ropes, 5.x, old type key", {"rope_parameters": {
            FULL: {"type": "linear", "factor": 4.0}, SLIDING: {"rope_type": "default"}}}),
        ("both ropes, 5.x, local scaled", {"rope_parameters": {
            FULL: {"rope_type": "default"}, SLIDING: {"rope_type": "linear", "factor": 2.0}}}),
        ("both ropes, 5.x, yarn", {"rope_parameters": {FULL: YARN, SLIDING: {"rope_type": "default"}}}),
        ("both ropes, 5.x, llama3", {"rope_parameters": {
            FULL: without(LLAMA3, "original_max_position_embeddings"), SLIDING: {"rope_type": "default"}}}),
        ("both ropes, 5.x, full null", {"rope_parameters": {FULL: None, SLIDING: {"rope_type": "default"}}}),
        ("both ropes, 5.x, local null", {"rope_parameters": {FULL: {"rope_type": "default"}, SLIDING: None}}),
        ("ropes, 5.x, local alone", {"rope_parameters": {SLIDING: {"rope_type": "default", "rope_theta": 70.0}}}),
        ("ropes, 5.x, and scaling", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": 3000.0}, SLIDING: {"rope_type": "default"}}}),
        ("ropes, 5.x, local alone, and scaling", {"rope_scaling": {"rope_type": "linear", "factor": 4.0},
                                                  "rope_parameters": {SLIDING: {"rope_type": "default"}}}),
        ("scaling with a base inside", {"rope_scaling": {"rope_type": "linear", "factor": 4.0, "rope_theta": 900.0}}),
        ("gate silu", {"hidden_activation": "silu"}),
        ("gate gelu", {"hidden_activation": "gelu"}),
        ("gate absent", {"hidden_activation": GONE}),
        ("gate null", {"hidden_activation": None}),
        ("query scalar absent", {"query_pre_attn_scalar": GONE}),
        ("query scalar null", {"query_pre_attn_scalar": None}),
        ("query scalar zero", {"query_pre_attn_scalar": 0}),
        ("query scalar fractional", {"query_pre_attn_scalar": 12.5}),
        ("caps null", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
        ("cap of logits", {"final_logit_softcapping": 3.0}),
        ("cap of attention", {"attn_logit_softcapping": 3.0}),
        ("both directions", {"use_bidirectional_attention": True}),
        ("both directions false", {"use_bidirectional_attention": False}),
        ("both directions null", {"use_bidirectional_attention": None}),
        ("heads that do not divide, head dim given", {"num_attention_heads": 3, "num_key_value_heads": 1}),
    ],
}  # fmt: skip

# (name, what is set, keep, drop, a pattern in the names and what takes its place, tensors that are added: a name, and which it repeats)
NAMES = [
    ("unprefixed", {}, [], [], [r"^model\.", ""], []),
    ("unprefixed, untied", {"tie_word_embeddings": False}, [], [], [r"^model\.", ""], []),
    ("unprefixed, with its own head", {"tie_word_embeddings": False}, [r"^lm_head\."], [], [r"^model\.", ""], []),
    ("unprefixed embedding alone", {}, [], [], [r"^model\.embed", "embed"], []),
    ("unprefixed layers alone", {}, [], [], [r"^model\.layers", "layers"], []),
    ("one prefix too many", {}, [], [], [r"^model\.", "model.model."], []),
    ("head under model", {"tie_word_embeddings": False}, [r"^lm_head\."], [], [r"^lm_head", "model.lm_head"], []),
    ("transformer prefix", {}, [], [], [r"^model\.", "transformer."], []),
    ("language model prefix", {}, [], [], [r"^model\.", "language_model.model."], []),
    ("language model inside", {}, [], [], [r"^model\.", "model.language_model."], []),
    ("tied, head alone", {}, [r"^lm_head\."], [r"embed_tokens"], [r"^$", ""], []),
    ("tied, head equal", {}, [], [], [r"^$", ""], [["lm_head.weight", "model.embed_tokens.weight"]]),
    ("untied, head alone", {"tie_word_embeddings": False}, [r"^lm_head\."], [r"embed_tokens"], [r"^$", ""], []),
    ("no embedding", {}, [], [r"embed_tokens"], [r"^$", ""], []),
    ("inverse frequencies", {}, [], [], [r"^$", ""], [
        ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.norm.weight"],
        ["model.rotary_emb.inv_freq", "model.norm.weight"]]),
    ("tensors of others", {}, [], [], [r"^$", ""], [
        ["model.layers.0.self_attn.masked_bias", "model.norm.weight"], ["score.weight", "model.norm.weight"]]),
]  # fmt: skip

TEXTS = [
    ("infinity and not a number in unknown keys", lambda text: text.replace("{", '{"a": Infinity, "b": [NaN, -Infinity],', 1)),
    ("infinite base", lambda text: text.replace("5000.0", "Infinity")),
    ("base not a number", lambda text: text.replace("5000.0", "NaN")),
    ("base as a tagged float", lambda text: text.replace("5000.0", '{"__float__": "Infinity"}')),
    ("eps not a number", lambda text: text.replace("1e-05", "NaN")),
    ("infinite eps", lambda text: text.replace("1e-05", "Infinity")),
    ("byte order mark", lambda text: "\ufeff" + text),
]


def random_weights(model, generator):
    for name, p in model.state_dict().items():
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name:  # Gemma stores it less 1
            value = (0 if model.config.model_type == "gemma3_text" else 1) + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "embed_tokens" in name or "lm_head" in name:
            value = 0.5 * noise
        else:
            value = noise * 1.2 / math.sqrt(p.shape[-1])
        p.copy_(value)


def superset(name, folder):
    """Every tensor of the architecture under the names that files have."""
    tensors = {}
    variants = [{}]
    if name in ("qwen2_moe", "qwen3_moe"):
        variants.append({"mlp_only_layers": [0, 1, 2]})
    for i, variant in enumerate(variants):
        config = ARCHITECTURES[name] | MOST.get(name, {}) | variant | {"tie_word_embeddings": False, "model_type": name}
        (folder / "config.json").write_text(json.dumps(config))
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        random_weights(model, torch.Generator().manual_seed(len(name) + i))
        model.to(torch.bfloat16).save_pretrained(folder)
        for key, value in load_file(folder / "model.safetensors").items():
            tensors.setdefault(key, value)
        (folder / "model.safetensors").unlink()
    return dict(sorted(tensors.items()))


def compute(text, tensors):
    with tempfile.TemporaryDirectory() as where:
        folder = pathlib.Path(where)
        (folder / "config.json").write_text(text)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
            if info["missing_keys"] or info["mismatched_keys"]:
                lacking = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
                return {"error": f"lacks {len(lacking)} tensors: {lacking[0]}"}
            logits = model.eval()(torch.tensor([IDS]), use_cache=False).logits[0].double()
        except Exception as error:  # whatever it is: the file cannot be used
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]}
        scores = torch.log_softmax(logits, -1)
        found = [round(scores[i - 1, IDS[i]].item(), 4) for i in range(1, T)]
        if not all(map(math.isfinite, found)):
            return {"error": "computes NaN or infinities"}
        unused = sorted(info["unexpected_keys"])
        return {"logprobs": found} | ({"unused": len(unused)} if unused else {})


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, base in ARCHITECTURES.items():
        with tempfile.TemporaryDirectory() as where:
            tensors = superset(name, pathlib.Path(where))
        save_file(tensors, OUT / f"{name}.safetensors", metadata={"format": "pt"})

        def chosen(keep, drop):
            gone = lambda key: any(re.search(p, key) for p in drop) or (
                any(re.search(p, key) for p in DROP[name]) and not any(re.search(p, key) for p in keep))
            return {key: value.clone() for key, value in tensors.items() if not gone(key)}

        for case, change, *rest in COMMON + (EXPERT if name in MOE else []) + OWN.get(name, []):
            keep, drop = (*rest, [], [])[:2]
            config = {"model_type": name} | base | change
            config = {k: v for k, v in config.items() if v != GONE}
            entry = {"architecture": name, "case": case, "set": {k: v for k, v in change.items() if v != GONE},
                     "unset": [k for k, v in change.items() if v == GONE], "keep": keep, "drop": drop}
            entry |= compute(json.dumps(config), chosen(keep, drop))
            cases.append({k: v for k, v in entry.items() if v not in ([], {})})
        for case, change, keep, drop, rename, add in NAMES:
            config = {"model_type": name} | base | change
            chosen_tensors = chosen(keep, drop)
            chosen_tensors |= {new: tensors[old].clone() for new, old in add}
            renamed = {re.sub(rename[0], rename[1], key): value for key, value in chosen_tensors.items()}
            entry = {"architecture": name, "case": case, "set": change, "keep": keep, "drop": drop, "add": add}
            entry |= {"rename": rename} if rename[0] != "^$" else {}
            entry |= compute(json.dumps(config), renamed)
            cases.append({k: v for k, v in entry.items() if v not in ([], {})})
        for case, change in TEXTS:
            text = change(json.dumps({"model_type": name} | base))
            cases.append({"architecture": name, "case": case, "text": text} | compute(text, chosen([], [])))
    result = {
        "transformers": transformers.__version__, "ids": IDS, "drop": DROP,
        "base": {name: {"model_type": name} | base for name, base in ARCHITECTURES.items()}, "cases": cases,
    }  # fmt: skip
    lines = json.dumps(result | {"cases": []}, ensure_ascii=False)[:-2] + "\n"
    lines += ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n"
    (OUT / "corpus.json").write_text(lines)
    failed = sum("error" in case for case in cases)
    print(f"{len(cases)} cases, of which transformers refuses {failed}; corpus.json {len(lines) // 1000} kB")


if __name__ == "__main__":
    main()
