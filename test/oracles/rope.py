"""Writes ../fixtures/rope.json: inverse frequencies and attention factors from Hugging Face transformers.

Usage: python test/oracles/rope.py   (needs `transformers` and `torch`)
"""

import json
import pathlib

from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3["original_max_position_embeddings"] = 8192
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}

CASES = [
    (64, 10000.0, 2048, None),
    (128, 1000000.0, 32768, None),
    (96, 500000.0, 4096, None),
    (80, 10000.0, 4096, {"rope_type": "linear", "factor": 2.5}),
    (128, 500000.0, 131072, LLAMA3),
    (64, 500000.0, 131072, {**LLAMA3, "factor": 32.0}),
    (128, 1000000.0, 131072, YARN),
    (64, 10000.0, 65536, {**YARN, "factor": 16.0, "original_max_position_embeddings": 4096}),
    (64, 10000.0, 65536, {**YARN, "factor": 16.0, "original_max_position_embeddings": 4096, "truncate": False}),
    (128, 10000.0, 65536, {**YARN, "beta_fast": 16, "beta_slow": 2, "attention_factor": 1.25}),
    (128, 10000.0, 163840, {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 0.8}),
    (128, 10000.0, 16384, {"rope_type": "linear", "factor": 4.0, "partial_rotary_factor": 0.5}),
]

# dynamic NTK: frequencies for a text of so many tokens
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0}
LENGTHS = [
    (64, 10000.0, 2048, DYNAMIC, 1000),
    (64, 10000.0, 2048, DYNAMIC, 2049),
    (128, 500000.0, 4096, {**DYNAMIC, "factor": 2.0}, 8192),
    (128, 10000.0, 2048, {**DYNAMIC, "partial_rotary_factor": 0.5}, 6000),
]

cases = []
for head_dim, theta, positions, scaling, *length in [*CASES, *LENGTHS]:
    parameters = {"rope_theta": theta, **(scaling or {"rope_type": "default"})}
    config = LlamaConfig(
        hidden_size=head_dim * 4,
        num_attention_heads=4,
        head_dim=head_dim,
        max_position_embeddings=positions,
        rope_parameters=dict(parameters),
    )
    kind = parameters["rope_type"]
    if kind == "default":
        inverse, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        inverse, factor = ROPE_INIT_FUNCTIONS[kind](config, device="cpu", **({"seq_len": length[0]} if length else {}))
    raw = {"head_dim": head_dim, "max_position_embeddings": positions}
    if len(cases) % 2:  # the older spelling for every other case
        scaling = {k: v for k, v in parameters.items() if k not in ("rope_theta", "rope_type")}
        raw |= {"rope_theta": theta, "rope_scaling": {"type": kind, **scaling}}
    else:
        raw["rope_parameters"] = parameters
    if length:
        raw["contextLength"] = length[0]
    cases.append({"config": raw, "inverseFrequencies": inverse.tolist(), "attentionFactor": factor})

out = pathlib.Path(__file__).parent.parent / "fixtures" / "rope.json"
out.write_text(json.dumps(cases))
print(len(cases), "cases")
