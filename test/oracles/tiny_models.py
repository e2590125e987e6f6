"""Writes ../fixtures/tiny/<name>/: tiny random models of every architecture variant and what transformers computes with them.

Hugging Face layout: config.json, model.safetensors (or two shards and an index). GGUF twins (gguf-*): model.gguf.
Each folder has reference.safetensors, computed in f32, eager attention, from the weights as stored:
    ids [T] i32, logits [T, V] f32, hidden.0 [T, D] (embedding), hidden.i [T, D] after layer i (before the final norm)

Usage: python test/oracles/tiny_models.py [NAME …]   (those alone; torch transformers safetensors gguf numpy)
With llama-cpp-python installed, `--check` also runs the GGUF files through llama.cpp and prints the largest difference.
"""

import json
import math
import pathlib
import shutil
import sys

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama import modeling_llama

torch.set_num_threads(1)
OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "tiny"
V = 104
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

BASE = {
    "vocab_size": V, "hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32",
}  # fmt: skip
LLAMA = BASE | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
MISTRAL = BASE | {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
QWEN2 = BASE | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6}
QWEN3 = BASE | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "rms_norm_eps": 1e-6}
SMOLLM3 = BASE | {
    "architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3", "num_hidden_layers": 4, "pad_token_id": 0,
}  # fmt: skip
GEMMA3 = {k: v for k, v in BASE.items() if k != "hidden_act"} | {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 32, "intermediate_size": 32,
    "num_attention_heads": 4, "head_dim": 16, "num_hidden_layers": 6, "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 20, "sliding_window": 8, "rope_theta": 5000.0, "rope_local_base_freq": 100.0,
    "rms_norm_eps": 1e-6, "torch_dtype": "bfloat16",
}  # fmt: skip
LINEAR = {"rope_type": "linear", "factor": 2.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}

# name: (config, T, shards)
HF = {
    "llama-gqa": (LLAMA, 16, 1),
    "llama-bias": (LLAMA | {"attention_bias": True, "mlp_bias": True, "torch_dtype": "bfloat16"}, 16, 1),
    "llama-f16": (LLAMA | {"torch_dtype": "float16", "num_key_value_heads": 6}, 16, 1),
    "llama-bf16": (LLAMA | {"torch_dtype": "bfloat16", "tie_word_embeddings": False}, 16, 1),
    "llama-sharded": (LLAMA | {"torch_dtype": "bfloat16", "num_key_value_heads": 1}, 16, 2),
    "llama-rope-linear": (LLAMA | {"rope_scaling": LINEAR, "torch_dtype": "bfloat16"}, 24, 1),
    "llama-rope-llama3": (LLAMA | {"rope_scaling": LLAMA3, "rope_theta": 500.0, "torch_dtype": "bfloat16"}, 40, 1),
    "llama-yarn": (LLAMA | {"rope_scaling": YARN, "torch_dtype": "bfloat16"}, 40, 1),
    # the older key, as in Qwen2's and the first Llama files
    "llama-rope-type-key": (
        LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}, "torch_dtype": "float16"}, 24, 1),
    # as transformers 5 writes it: no rope_theta, no rope_scaling, `dtype` for `torch_dtype`
    "llama-rope-parameters": (
        {k: v for k, v in LLAMA.items() if k not in ("rope_theta", "torch_dtype")}
        | {"rope_parameters": YARN | {"rope_theta": 5000.0}, "dtype": "bfloat16"}, 40, 1),
    # no class of transformers here rotates a part of each head; llama.cpp's qwen2 does
    "gguf-qwen2-partial-rotary": (LLAMA | {"partial_rotary_factor": 0.5, "torch_dtype": "float16"}, 16, 1),
    "mistral-window": (
        MISTRAL | {"sliding_window": 8, "head_dim": 16, "num_attention_heads": 4, "torch_dtype": "bfloat16"}, 24, 1),
    "qwen2": (QWEN2 | {"tie_word_embeddings": False, "torch_dtype": "bfloat16"}, 16, 1),
    "qwen2-window": (
        QWEN2 | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1, "torch_dtype": "bfloat16"},
        24, 1),
    "qwen3": (QWEN3 | {"head_dim": 16, "num_attention_heads": 4, "torch_dtype": "bfloat16"}, 16, 1),
    # read at 64 positions, for which transformers stretches the base
    "llama-rope-dynamic": (
        LLAMA | {"rope_scaling": DYNAMIC, "max_position_embeddings": 16, "torch_dtype": "bfloat16"}, 64, 1),
    "smollm3": (SMOLLM3 | {"torch_dtype": "bfloat16"}, 24, 1),
    "smollm3-window": (
        SMOLLM3 | {
            "no_rope_layers": [0, 1, 0, 1], "use_sliding_window": True, "sliding_window": 8, "attention_bias": True,
            "mlp_bias": True, "rope_scaling": YARN, "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
        40, 1),
    "gemma3": (GEMMA3, 40, 1),
    # as transformers 5 writes it, the full layers stretched; the window is the whole context
    "gemma3-rope-parameters": (
        {k: v for k, v in GEMMA3.items() if k not in ("rope_theta", "rope_local_base_freq", "torch_dtype")}
        | {"num_hidden_layers": 3, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
           "tie_word_embeddings": False, "attention_bias": True, "dtype": "bfloat16", "rope_parameters": {
               "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 3000.0},
               "sliding_attention": {"rope_type": "default", "rope_theta": 70.0}}}, 40, 1),
}  # fmt: skip


def random_weights(model, generator):
    """Norms around 1, biases around 0, matrices that keep the size of what they multiply."""
    for name, p in model.state_dict().items():
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name:  # Gemma stores it less 1
            value = (0 if model.config.model_type == "gemma3_text" else 1) + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "embed_tokens" in name or "lm_head" in name:
            value = 0.3 * noise
        else:
            value = noise * 1.2 / math.sqrt(p.shape[1])
        p.copy_(value)
    model.tie_weights()


def new_model(config):
    folder = OUT / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    parsed = AutoConfig.from_pretrained(folder)
    shutil.rmtree(folder)
    return AutoModelForCausalLM.from_config(parsed, dtype=torch.float32, attn_implementation="eager").eval()


def greedy(model, ids, count):
    """The likeliest continuation of ids, and the least by which a token of it is likelier than the next best."""
    ids, margin = ids.tolist(), math.inf
    for _ in range(count):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return torch.tensor(ids[-count:], dtype=torch.int32), margin


def reference(model, count, seed):
    """What the model computes for `count` random ids, as tensors to be saved."""
    ids = torch.randint(1, model.config.vocab_size, (1, count), generator=torch.Generator().manual_seed(seed))
    hidden = []
    hooks = [model.model.embed_tokens.register_forward_hook(lambda m, i, o: hidden.append(o))]
    for layer in model.model.layers:
        hooks.append(layer.register_forward_hook(lambda m, i, o: hidden.append(o[0] if isinstance(o, tuple) else o)))
    logits = model(ids).logits[0]
    for hook in hooks:
        hook.remove()
    tensors = {"ids": ids[0].to(torch.int32), "logits": logits}
    tensors |= {f"hidden.{i}": h[0] for i, h in enumerate(hidden)}
    if model.config.model_type in ("smollm3", "gemma3_text"):
        tensors["greedy"], margin = greedy(model, ids[0, :24], 32)
        print(f"{'':24s} greedy: {margin:.1e} between best and second")
    return tensors


def save(path, tensors):
    save_file({name: t.detach().clone().contiguous() for name, t in tensors.items()}, path, metadata={"format": "pt"})


class PartialRotary:
    """Llama does not read partial_rotary_factor: inside this, the first half of each head is rotated, as in GLM or StableLM."""

    def __init__(self, factor):
        self.factor = factor

    def __enter__(self):
        self.full = full = modeling_llama.apply_rotary_pos_emb

        def partial(q, k, cos, sin, unsqueeze_dim=1):
            n = cos.shape[-1]
            q1, k1 = full(q[..., :n], k[..., :n], cos, sin, unsqueeze_dim)
            return torch.cat((q1, q[..., n:]), -1), torch.cat((k1, k[..., n:]), -1)

        if self.factor != 1:
            modeling_llama.apply_rotary_pos_emb = partial

    def __exit__(self, *_):
        modeling_llama.apply_rotary_pos_emb = self.full

    def patch(self, model, config):
        if self.factor == 1:
            return
        n = int(config["hidden_size"] // config["num_attention_heads"] * self.factor)
        model.model.rotary_emb.inv_freq = 1 / config["rope_theta"] ** (torch.arange(0, n, 2).float() / n)


def write_hf(name, config, count, shards, seed):
    folder = OUT / name
    folder.mkdir(parents=True)
    dtype = DTYPES[config.get("torch_dtype") or config["dtype"]]
    model = new_model(config)
    random_weights(model, torch.Generator().manual_seed(seed))
    state = {k: v.to(dtype) for k, v in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        state.pop("lm_head.weight", None)
    if "partial_rotary_factor" in config:
        return write_partial(name, folder, config, count, seed, model, {k: v.to(dtype).float() for k, v in state.items()})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if shards == 1:
        save(folder / "model.safetensors", state)
    else:
        names = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
        where = {key: names[i * shards // len(state)] for i, key in enumerate(state)}
        for file in names:
            save(folder / file, {k: v for k, v in state.items() if where[k] == file})
        size = sum(v.numel() * v.element_size() for v in state.values())
        index = {"metadata": {"total_size": size}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    # read back, so that config.json and the files are what the reference stands for
    stored = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tensors = reference(stored, count, seed)
    save(folder / "reference.safetensors", tensors)
    report(name, folder, tensors)


def write_partial(name, folder, config, count, seed, model, state):
    """A GGUF file of llama.cpp's qwen2, which turns the first `rope.dimension_count` dimensions of each head."""
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    rotary = PartialRotary(config["partial_rotary_factor"])
    with rotary:
        rotary.patch(model, config)
        tensors = reference(model, count, seed)
    writer = gguf.GGUFWriter(folder / "model.gguf", "qwen2")
    metadata(writer, config | {"model_type": "qwen2"}, name)
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(int(head_dim * config["partial_rotary_factor"]))
    for key, value in state.items():
        writer.add_tensor(gguf_name(key), value.numpy().astype(np.float32 if value.ndim == 1 else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save(folder / "reference.safetensors", tensors)
    report(name, folder, tensors)


def report(name, folder, tensors):
    size = sum(f.stat().st_size for f in folder.iterdir())
    spread = tensors["logits"].std().item()
    print(f"{name:24s} {size / 1000:7.1f} kB   logits: std {spread:.2f}, max {tensors['logits'].abs().max().item():.2f}")


# ---------------------------------------------------------------------------------------------------------------- GGUF

MERGES = ["t h", "th e", "Ġ t", "Ġt he", "i n", "a n", "an d", "e r", "Ġ a"]
TOKENS = ["<|endoftext|>", *(chr(c) for c in range(33, 127)), "Ġ", *(m.replace(" ", "") for m in MERGES)][:V]
MERGES = [m for m in MERGES if m.replace(" ", "") in TOKENS]

# as Gemma's SentencePiece vocabulary: begin, end, bytes, and pieces whose scores say what merges first
PIECES = ["th", "the", "▁the", "in", "an", "and", "▁a", "▁and", "er", "ing", "▁t", "▁", *(chr(c) for c in range(97, 123)), ".", ","]
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
GEMMA_VOCABULARY = [*SPECIAL, *BYTES, *PIECES]

SMALL = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
ONE = SMALL | {"num_hidden_layers": 1}
WIDE = {
    "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 1,
    "num_hidden_layers": 1,
}  # fmt: skip

# llama.cpp scales queries by the size of a head, and its converter writes no base for the layers with windows
GEMMA3_GGUF = GEMMA3 | {
    "vocab_size": len(GEMMA_VOCABULARY), "query_pre_attn_scalar": 16, "rope_theta": 300.0, "rope_local_base_freq": 10000.0,
}  # fmt: skip
GGUF_NAMES = {"gemma3_text": "gemma3"}

# name: (config, T, type of the matrices, {part of a name: another type})
GGUF = {
    "gguf-llama-f32": (LLAMA | ONE, 16, Q.F32, {}),
    "gguf-llama-f16": (LLAMA | ONE, 16, Q.F16, {}),
    "gguf-llama-bf16": (LLAMA | ONE, 16, Q.BF16, {}),
    "gguf-llama-q8_0": (LLAMA | SMALL, 16, Q.Q8_0, {}),
    "gguf-llama-q4_0": (LLAMA | ONE, 16, Q.Q4_0, {"token_embd": Q.Q8_0}),
    "gguf-llama-q4_1": (LLAMA | ONE, 16, Q.Q4_1, {"token_embd": Q.Q8_0}),
    "gguf-llama-q5_0": (LLAMA | ONE, 16, Q.Q5_0, {}),
    "gguf-llama-q5_1": (LLAMA | ONE, 16, Q.Q5_1, {}),
    "gguf-llama-rope-linear": (LLAMA | ONE | {"rope_scaling": LINEAR}, 40, Q.F16, {}),
    "gguf-llama-rope-llama3": (LLAMA | ONE | {"rope_scaling": LLAMA3, "rope_theta": 500.0}, 40, Q.F16, {}),
    "gguf-llama-yarn": (LLAMA | ONE | {"rope_scaling": YARN}, 40, Q.F16, {}),
    "gguf-qwen2-f16": (QWEN2 | ONE | {"tie_word_embeddings": False}, 16, Q.F16, {}),
    "gguf-qwen2-q4_0": (QWEN2 | SMALL, 16, Q.Q4_0, {}),
    "gguf-qwen3-q8_0": (QWEN3 | SMALL | {"head_dim": 32}, 16, Q.Q8_0, {}),
    "gguf-qwen3-bf16": (QWEN3 | ONE | {"head_dim": 32, "tie_word_embeddings": False}, 16, Q.BF16, {}),
    # mixtures as llama.cpp's Q4_K_M and Q5_K_M make them
    "gguf-llama-q4_k": (
        LLAMA | WIDE | {"tie_word_embeddings": False}, 8, Q.Q4_K,
        {"output.weight": Q.Q6_K, "attn_v": Q.Q6_K, "ffn_down": Q.Q6_K}),
    "gguf-qwen2-q5_k": (
        QWEN2 | WIDE | {"tie_word_embeddings": False}, 8, Q.Q5_K, {"output.weight": Q.Q6_K, "ffn_down": Q.Q6_K}),
    "gguf-llama-q6_k": (LLAMA | WIDE, 8, Q.Q6_K, {}),
    "gguf-smollm3-f16": (SMOLLM3 | {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4}, 24, Q.F16, {}),
    "gguf-gemma3-f16": (GEMMA3_GGUF, 40, Q.F16, {}),
    "gguf-gemma3-q8_0": (GEMMA3_GGUF | {"rope_scaling": LINEAR, "rope_local_base_freq": 100.0}, 40, Q.Q8_0, {}),
}  # fmt: skip


def random_blocks(kind, rows, columns, std, rng):
    """Valid random K-quant blocks, about zero mean, with the wanted spread."""
    size, count = gguf.GGML_QUANT_SIZES[kind][1], rows * columns // 256
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    jitter = rng.uniform(0.5, 1.5, count)

    def half(values):
        return values.astype(np.float16)[:, None].view(np.uint8)

    if kind == Q.Q6_K:  # ql 128, qh 64, scales 16 (i8), d
        blocks[:, 192:208] = rng.integers(-32, 33, (count, 16)).astype(np.int8).view(np.uint8)
        blocks[:, 208:210] = half(jitter * std / 340)
    else:  # d, dmin, scales 12, ..: d * scale * code - dmin * min
        top = 15 if kind == Q.Q4_K else 31
        d = jitter * std / (19.5 * top)
        blocks[:, 0:2] = half(d)
        blocks[:, 2:4] = half(d * top / 2)
    return blocks.reshape(rows, -1)


def permute(rows, heads):
    """Row order of llama.cpp's converter: halves of each head become interleaved pairs."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpermute(rows, heads):
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_name(name, gemma=False):
    simple = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    simple["lm_head.weight"] = "output.weight"
    if name in simple:
        return simple[name]
    _, _, layer, *rest = name.split(".")
    part, kind = ".".join(rest[:-1]), rest[-1]
    table = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    if gemma:
        table |= {
            "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
            "post_feedforward_layernorm": "post_ffw_norm",
        }  # fmt: skip
    return f"blk.{layer}.{table[part]}.{kind}"


def metadata(writer, config, name):
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    writer.add_name(name)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    if config["model_type"] in ("llama", "smollm3"):
        writer.add_rope_dimension_count(head_dim)
    if "head_dim" in config:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    scaling = config.get("rope_scaling")
    if scaling and scaling["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
        if "original_max_position_embeddings" in scaling:
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    if config["model_type"] == "gemma3_text":
        return gemma_metadata(writer, config)
    writer.add_tokenizer_model("gpt2")
    pre = {"qwen2": "qwen2", "qwen3": "qwen2", "smollm3": "smaug-bpe"}
    writer.add_tokenizer_pre(pre.get(config["model_type"], "smollm"))
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (V - 1)])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def gemma_metadata(writer, config):
    writer.add_sliding_window(config["sliding_window"])
    if config["rope_local_base_freq"] != 10000:
        writer.add_rope_freq_base_swa(config["rope_local_base_freq"])
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(GEMMA_VOCABULARY)
    n = len(SPECIAL) + len(BYTES)
    writer.add_token_scores([0.0] * n + [-float(i) for i in range(len(PIECES))])
    kind = gguf.TokenType
    writer.add_token_types(
        [kind.CONTROL] * 3 + [kind.UNKNOWN] + [kind.BYTE] * len(BYTES) + [kind.NORMAL] * len(PIECES))
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def llama3_factors(config):
    """The divisors of each frequency that llama.cpp's converter stores as rope_freqs.weight."""
    s = config["rope_scaling"]
    dim = config["hidden_size"] // config["num_attention_heads"]
    original, low, high = s["original_max_position_embeddings"], s["low_freq_factor"], s["high_freq_factor"]
    factors = []
    for frequency in 1 / config["rope_theta"] ** (np.arange(0, dim, 2) / dim):
        length = 2 * math.pi / frequency
        if length < original / high:
            factors.append(1.0)
        elif length > original / low:
            factors.append(s["factor"])
        else:
            smooth = (original / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_gguf(name, config, count, kind, others, seed):
    folder = OUT / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    model = new_model(config)
    random_weights(model, torch.Generator().manual_seed(seed))
    gemma = config["model_type"] == "gemma3_text"
    if gemma:  # so that it writes letters, not bytes, and not always the same
        model.model.embed_tokens.weight *= 0.15
        model.model.embed_tokens.weight[: len(SPECIAL) + len(BYTES)] *= 0.1
    writer = gguf.GGUFWriter(folder / "model.gguf", GGUF_NAMES.get(config["model_type"], config["model_type"]))
    metadata(writer, config, name)
    state = model.state_dict()
    if config["tie_word_embeddings"]:
        state.pop("lm_head.weight", None)
    heads = {"attn_q.": config["num_attention_heads"], "attn_k.": config["num_key_value_heads"]}
    for key, parameter in state.items():
        target = gguf_name(key, gemma)
        turned = next((n for part, n in heads.items() if part in target and config["model_type"] in ("llama", "smollm3")), 0)
        values = parameter.numpy()
        raised = 1 if gemma and key.endswith("norm.weight") else 0
        if raised:
            values = values + np.float32(raised)
        if turned:
            values = permute(values, turned)
        type_ = Q.F32 if values.ndim == 1 else next((t for part, t in others.items() if part in target), kind)
        if type_ == Q.F32:
            data = np.ascontiguousarray(values)
            writer.add_tensor(target, data)
        elif type_ == Q.F16:
            data = values.astype(np.float16)
            writer.add_tensor(target, data)
        else:
            if type_ in (Q.Q4_K, Q.Q5_K, Q.Q6_K):
                data = random_blocks(type_, *values.shape, float(values.std()), rng)
            else:
                data = gguf.quants.quantize(values, type_)
            writer.add_tensor(target, data, raw_dtype=type_)
        stored = data.astype(np.float32) if type_ in (Q.F32, Q.F16) else gguf.quants.dequantize(data, type_)
        if turned:
            stored = unpermute(stored, turned)
        if raised:
            stored = stored - np.float32(raised)
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(stored, dtype=np.float32)))
    if config.get("rope_scaling", {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.tie_weights()
    tensors = reference(model, count, seed)
    save(folder / "reference.safetensors", tensors)
    report(name, folder, tensors)
    if gemma:
        llama_text(folder, model)
    if "--check" in sys.argv:
        check(folder / "model.gguf", tensors)


def llama_text(folder, model):
    """What llama.cpp writes after a prompt, beside the model: likeliest tokens, an f32 cache. transformers must write the same."""
    import llama_cpp

    llama = llama_cpp.Llama(str(folder / "model.gguf"), n_ctx=256, n_threads=1, verbose=False, type_k=0, type_v=0)
    prompt = "the hat and the ring in a tree."
    ids = llama.tokenize(prompt.encode(), add_bos=True)
    llama.eval(ids)
    found, token = [], None
    for _ in range(32):
        token = int(np.argmax(logits_of(llama)))
        found.append(token)
        llama.eval([token])
    want, margin = greedy(model, torch.tensor(ids), 32)
    assert found == want.tolist(), (found, want.tolist())
    assert 1 not in found
    text = llama.detokenize(found).decode()
    print(f"{'':24s} llama.cpp writes {text!r}, {margin:.1e} between best and second")
    tokenizer = gemma_tokenizer()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    texts = ["the ring", " and  the  inner", "a\nthin, old tree.\n\n", "é and 😀", "", "  ", "▁the"]
    encoded = [llama.tokenize(text.encode(), add_bos=False) for text in texts]
    assert encoded == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts], encoded
    record = {"prompt": prompt, "ids": ids, "greedy": found, "text": text, "texts": texts, "encoded": encoded}
    (folder / "llama.json").write_text(json.dumps(record, ensure_ascii=False) + "\n")


def gemma_tokenizer():
    """The same vocabulary as Gemma's tokenizer.json has it: BPE with bytes to fall back on, spaces as ▁."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    known = {piece: i for i, piece in enumerate(GEMMA_VOCABULARY)}
    ways = [(p[:i], p[i:]) for p in PIECES for i in range(1, len(p)) if p[:i] in known and p[i:] in known]
    ways.sort(key=lambda way: (PIECES.index("".join(way)), -len(way[0])))
    model = models.BPE(known, ways, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A", None, [("<bos>", 2)])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def logits_of(llama):
    import llama_cpp

    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llama.ctx, -1), shape=(llama.n_vocab(),))


def check(path, tensors):
    """The same ids through llama.cpp: agreement of its logits (int8 activations for quantised types, f16 cache)."""
    import llama_cpp

    llama = llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, logits_all=True, verbose=False)
    llama.eval(tensors["ids"].tolist())
    got = torch.from_numpy(np.array(llama.scores[: len(tensors["ids"])]))
    want = tensors["logits"]
    print(f"{'':24s} llama.cpp: {((got - want).abs().max() / want.abs().max()).item():.1e} of the largest logit")


if __name__ == "__main__":
    wanted = [name for name in sys.argv[1:] if not name.startswith("--")]
    for folder in OUT.glob("*"):
        # tiny_moe.py writes those
        if not folder.name.startswith("moe-") and (not wanted or folder.name in wanted):
            shutil.rmtree(folder)
    with torch.no_grad():
        for number, (name, (config, count, shards)) in enumerate(HF.items()):
            if not wanted or name in wanted:
                write_hf(name, config, count, shards, 100 + number)
        for number, (name, (config, count, kind, others)) in enumerate(GGUF.items()):
            if not wanted or name in wanted:
                write_gguf(name, config, count, kind, others, 200 + number)
