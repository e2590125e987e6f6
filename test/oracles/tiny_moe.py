"""Writes ../fixtures/tiny/moe-*/: tiny random mixtures of experts and what transformers computes with them, and
../fixtures/route.json: what transformers' routers choose.

The models have the layout of tiny_models.py. Tensors are named as transformers writes them by default (each expert by itself), or
as it keeps them (`fused`). Models named moe-espalier-* have our own config.json and our names; their references come from
transformers' Dots1 class, and from its Qwen3 class with parts of its GraniteMoeShared class in the place of some feed-forwards.

Usage: python test/oracles/tiny_moe.py   (torch transformers safetensors)
"""

import json
import math
import shutil

import torch
from safetensors.torch import load_file
from tiny_models import BASE, OUT, DTYPES, new_model, reference, report, save
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.deepseek_v2 import configuration_deepseek_v2, modeling_deepseek_v2
from transformers.models.deepseek_v3 import configuration_deepseek_v3, modeling_deepseek_v3
from transformers.models.dots1 import configuration_dots1, modeling_dots1
from transformers.models.ernie4_5_moe import configuration_ernie4_5_moe, modeling_ernie4_5_moe
from transformers.models.glm4_moe import configuration_glm4_moe, modeling_glm4_moe
from transformers.models.granitemoeshared import configuration_granitemoeshared, modeling_granitemoeshared
from transformers.models.mixtral import configuration_mixtral, modeling_mixtral
from transformers.models.qwen2_moe import configuration_qwen2_moe, modeling_qwen2_moe

SMALL = BASE | {
    "hidden_size": 32, "intermediate_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6, "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTRAL = SMALL | {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2,
    "sliding_window": None,
}  # fmt: skip
QWEN2 = SMALL | {
    "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "num_experts": 6, "num_experts_per_tok": 3,
    "intermediate_size": 40, "moe_intermediate_size": 12, "shared_expert_intermediate_size": 24,
}  # fmt: skip
QWEN3 = SMALL | {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2,
    "intermediate_size": 40, "moe_intermediate_size": 16, "head_dim": 16, "norm_topk_prob": True,
}  # fmt: skip
GRANITE = SMALL | {
    "architectures": ["GraniteMoeSharedForCausalLM"], "model_type": "granitemoeshared", "num_local_experts": 8,
    "num_experts_per_tok": 2, "shared_intermediate_size": 24, "attention_multiplier": 8**-0.5,
}  # fmt: skip

# name: (config, T, whether tensors hold several experts)
STOCK = {
    "moe-mixtral": (MIXTRAL | {"torch_dtype": "float32", "tie_word_embeddings": False}, 16, False),
    "moe-mixtral-one": (MIXTRAL | {"num_experts_per_tok": 1, "num_local_experts": 4, "head_dim": 16}, 16, False),
    "moe-mixtral-fused": (MIXTRAL | {"sliding_window": 8}, 24, True),
    "moe-qwen2": (
        QWEN2 | {"num_hidden_layers": 4, "decoder_sparse_step": 2, "mlp_only_layers": [3], "torch_dtype": "float32"},
        16, False),
    "moe-qwen2-norm": (QWEN2 | {"norm_topk_prob": True, "qkv_bias": False}, 16, False),
    "moe-qwen2-fused": (QWEN2 | {"mlp_only_layers": [0]}, 16, True),
    "moe-qwen3": (QWEN3, 16, False),
    "moe-qwen3-fused": (
        QWEN3 | {"norm_topk_prob": False, "attention_bias": True, "decoder_sparse_step": 2, "torch_dtype": "float32"},
        16, True),
    "moe-granite": (
        GRANITE | {
            "torch_dtype": "float32", "attention_bias": True, "embedding_multiplier": 3.0, "residual_multiplier": 0.4,
            "logits_scaling": 2.5, "attention_multiplier": 0.2}, 16, False),
    "moe-granite-bf16": (GRANITE | {"tie_word_embeddings": False}, 16, False),
    "moe-granite-unshared": (GRANITE | {"shared_intermediate_size": 0, "num_experts_per_tok": 4}, 16, False),
}  # fmt: skip


def random_weights(model, generator):
    """As in tiny_models.py, but matrices may be a stack of matrices, and routers tell experts apart clearly."""
    for name, p in model.state_dict().items():
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "embed_tokens" in name or "lm_head" in name:
            value = 0.3 * noise
        else:
            value = noise * 1.2 / math.sqrt(p.shape[-1])
        p.copy_(value)
    model.tie_weights()


def restore(model, state, dtype):
    """Rounds a model to a type in place."""
    for p in state.values():
        p.copy_(p.to(dtype).float())
    model.tie_weights()


def scaled(tensors, config):
    """Granite scales its embeddings outside of the module that tiny_models.py looks at."""
    return tensors | {"hidden.0": tensors["hidden.0"] * config.get("embedding_multiplier", 1)}


def write_stock(name, config, count, fused, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model = new_model(config)
    random_weights(model, torch.Generator().manual_seed(seed))
    model.to(DTYPES[config["torch_dtype"]]).save_pretrained(folder, save_original_format=not fused)
    for extra in folder.iterdir():
        if extra.name != "model.safetensors":
            extra.unlink()
    names = load_file(folder / "model.safetensors").keys()
    assert any("gate_up_proj" in key or "input_linear" in key for key in names) == (
        fused or "granite" in name), sorted(names)  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    stored = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tensors = scaled(reference(stored, count, seed), config)
    save(folder / "reference.safetensors", tensors)
    report(name, folder, tensors)


# ---------------------------------------------------------------------------------------------- our own configuration

OURS = {"architectures": ["EspalierMoeForCausalLM"], "model_type": "espalier_moe"}
OWN = SMALL | {"intermediate_size": 24, "num_hidden_layers": 4, "head_dim": 16, "num_attention_heads": 4}


def per_expert(state):
    """Our names of a state dict in which tensors hold several experts."""
    out = {}
    for key, value in state.items():
        key = key.replace(".shared_experts.", ".shared_expert.")
        at = key.rsplit(".experts.", 1)
        if key.endswith(".experts.gate_up_proj"):
            for e, both in enumerate(value):
                gate, up = both.chunk(2)
                out[f"{at[0]}.experts.{e}.gate_proj.weight"], out[f"{at[0]}.experts.{e}.up_proj.weight"] = gate, up
        elif key.endswith(".experts.down_proj"):
            for e, down in enumerate(value):
                out[f"{at[0]}.experts.{e}.down_proj.weight"] = down
        else:
            out[key] = value
    return out


def filled(config, model, seed):
    """Random weights, rounded to the type that they are stored in."""
    random_weights(model, torch.Generator().manual_seed(seed))
    restore(model, model.state_dict(), DTYPES[config["torch_dtype"]])
    return model


def write_own(name, config, model, count, seed, rename=lambda state: state):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dtype = DTYPES[config["torch_dtype"]]
    filled(config, model, seed)
    state = rename(dict(model.state_dict()))
    if config["tie_word_embeddings"]:
        state.pop("lm_head.weight", None)
    # a bias for choosing stays f32, as in the published files
    save(folder / "model.safetensors",
         {k: v if k.endswith("correction_bias") else v.to(dtype) for k, v in per_expert(state).items()})  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = reference(model, count, seed)
    save(folder / "reference.safetensors", tensors)
    report(name, folder, tensors)


def dots1():
    """Sigmoid, groups, a bias for choosing, a scale, a shared expert; QK norm as in Qwen3."""
    parts = {
        "num_experts_per_tok": 3, "moe_intermediate_size": 12, "n_group": 4, "topk_group": 2, "norm_topk_prob": True,
        "routed_scaling_factor": 1.7,
    }  # fmt: skip
    stock = OWN | parts | {
        "architectures": ["Dots1ForCausalLM"], "model_type": "dots1", "n_routed_experts": 8, "n_shared_experts": 2,
        "first_k_dense_replace": 2, "attention_bias": False,
    }  # fmt: skip
    ours = OWN | parts | OURS | {
        "base_model_type": "qwen3", "moe_layers": [2, 3], "num_experts": 8, "shared_expert_intermediate_size": 24,
        "shared_expert_gate": False, "scoring_func": "sigmoid", "group_score": "top2", "selection_bias": True,
    }  # fmt: skip
    return "moe-espalier-dots1", ours, new_model(stock)


class SharedMixture(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.block_sparse_moe = modeling_granitemoeshared.GraniteMoeSharedMoE(config)
        self.shared_mlp = modeling_granitemoeshared.GraniteMoeSharedMLP(config)

    def forward(self, x):
        return self.block_sparse_moe(x) + self.shared_mlp(x)


def interleaved():
    """The paper's layout: every second layer has a shared expert, not gated, and experts by softmax over the chosen."""
    parts = {"num_experts_per_tok": 2, "moe_intermediate_size": 12}
    stock = OWN | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
    ours = OWN | parts | OURS | {
        "base_model_type": "qwen3", "moe_layers": [1, 3], "num_experts": 8, "shared_expert_intermediate_size": 24,
        "shared_expert_gate": False, "scoring_func": "selected-softmax", "norm_topk_prob": True,
        "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1, "group_score": "max", "selection_bias": False,
    }  # fmt: skip
    granite = configuration_granitemoeshared.GraniteMoeSharedConfig(
        hidden_size=32, intermediate_size=12, shared_intermediate_size=24, num_local_experts=8, num_experts_per_tok=2,
        num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
    model = new_model(stock)
    for layer in ours["moe_layers"]:
        model.model.layers[layer].mlp = SharedMixture(granite).eval()

    return "moe-espalier-interleaved", ours, model


def rename(state):
    """Our names of Granite's parts."""
    out = {}
    for key, value in state.items():
        key = key.replace("mlp.block_sparse_moe.experts", "mlp.experts")
        key = key.replace("mlp.block_sparse_moe.router", "mlp.gate")
        if key.endswith("shared_mlp.input_linear.weight"):
            at = key.replace("shared_mlp.input_linear.weight", "shared_expert.")
            out[f"{at}gate_proj.weight"], out[f"{at}up_proj.weight"] = value.chunk(2)
        else:
            out[key.replace("shared_mlp.output_linear", "shared_expert.down_proj")] = value
    return out


# ------------------------------------------------------------------------------------------------------------ routers


def rule(score, **changes):
    return {
        "score": score, "renormalise": False, "scale": 1, "groups": 1, "topGroups": 1, "groupScore": "max",
        "selectionBias": False,
    } | changes  # fmt: skip


def routers():
    """Each with its rule: the router of a class, with an identity in place of its matrix, so that inputs are logits."""
    def deepseek(module, config, name, **options):
        config = config(hidden_size=options["experts"], num_local_experts=options["experts"],
                        n_routed_experts=options["experts"], num_experts_per_tok=options["k"],
                        n_group=options["groups"], topk_group=options["top"], norm_topk_prob=options["norm"],
                        routed_scaling_factor=options["scale"])  # fmt: skip
        router = getattr(module, name)(config)
        r = rule("sigmoid", renormalise=options["norm"], scale=options["scale"], groups=options["groups"],
                 topGroups=options["top"], groupScore="top2", selectionBias=True)  # fmt: skip
        return router, r, options["k"]

    v3 = (modeling_deepseek_v3, configuration_deepseek_v3.DeepseekV3Config, "DeepseekV3TopkRouter")
    dots = (modeling_dots1, configuration_dots1.Dots1Config, "Dots1TopkRouter")
    glm = (modeling_glm4_moe, configuration_glm4_moe.Glm4MoeConfig, "Glm4MoeTopkRouter")
    yield "deepseek_v3", *deepseek(*v3, experts=32, k=6, groups=8, top=3, norm=True, scale=2.5)
    yield "dots1", *deepseek(*dots, experts=12, k=4, groups=1, top=1, norm=True, scale=1.0)
    yield "glm4_moe", *deepseek(*glm, experts=16, k=3, groups=4, top=2, norm=False, scale=1.5)
    for method, groups, top in (("greedy", 1, 1), ("group_limited_greedy", 4, 2)):
        config = configuration_deepseek_v2.DeepseekV2Config(
            hidden_size=16, num_attention_heads=4, n_routed_experts=16, num_experts_per_tok=5, n_group=groups, topk_group=top,
            topk_method=method, routed_scaling_factor=3.0)  # fmt: skip
        router = modeling_deepseek_v2.DeepseekV2TopkRouter(config)
        yield f"deepseek_v2 {method}", router, rule("softmax", scale=3.0, groups=groups, topGroups=top), 5
    config = configuration_ernie4_5_moe.Ernie4_5_MoeConfig(hidden_size=10, moe_num_experts=10, moe_k=4)
    router = modeling_ernie4_5_moe.Ernie4_5_MoeTopKRouter(config)
    yield "ernie4_5_moe", router, rule("softmax", renormalise=True, selectionBias=True), 4
    for norm in (False, True):
        config = configuration_qwen2_moe.Qwen2MoeConfig(
            hidden_size=9, num_experts=9, num_experts_per_tok=3, norm_topk_prob=norm)  # fmt: skip
        router = modeling_qwen2_moe.Qwen2MoeTopKRouter(config)
        yield f"qwen2_moe, norm_topk_prob {norm}", router, rule("softmax", renormalise=norm), 3
    config = configuration_mixtral.MixtralConfig(hidden_size=8, num_local_experts=8, num_experts_per_tok=2)
    yield "mixtral", modeling_mixtral.MixtralTopKRouter(config), rule("softmax", renormalise=True), 2
    config = configuration_granitemoeshared.GraniteMoeSharedConfig(
        hidden_size=8, num_local_experts=8, num_experts_per_tok=4)  # fmt: skip
    router = modeling_granitemoeshared.GraniteMoeSharedTopKRouter(config)
    yield "granitemoeshared", router, rule("selected-softmax"), 4


def write_routes():
    cases = []
    generator = torch.Generator().manual_seed(5)
    for name, router, r, k in routers():
        experts = router.weight.shape[0]
        router.weight.copy_(torch.eye(experts))
        logits = 2 * torch.randn((24, experts), generator=generator)
        logits[-1] *= 20  # nearly all on one
        bias = 0.3 * torch.randn(experts, generator=generator)
        if r["selectionBias"]:
            target = router.moe_statics if hasattr(router, "moe_statics") else router
            target.e_score_correction_bias.copy_(bias.reshape(target.e_score_correction_bias.shape))
        got, weights, places = router.eval()(logits)
        assert torch.equal(got.float(), logits)
        # in the order of what is compared: some routers do not sort
        scores = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "selected-softmax": logits}[r["score"]]
        chosen = (scores + bias if r["selectionBias"] else scores).gather(1, places)
        order = chosen.argsort(-1, descending=True)
        cases.append({
            "name": name, "rule": r, "k": k, "experts": experts, "tokens": len(logits),
            "logits": logits.flatten().tolist(), "bias": bias.tolist() if r["selectionBias"] else None,
            "places": places.gather(1, order).flatten().tolist(),
            "weights": weights.gather(1, order).flatten().tolist(),
        })  # fmt: skip
        print(f"{name:40s} {k} of {experts}")
    (OUT.parent / "route.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        for number, (name, (config, count, fused)) in enumerate(STOCK.items()):
            write_stock(name, config, count, fused, 300 + number)
        write_own(*dots1(), 16, 320)
        write_own(*interleaved(), 16, 321, rename)
        write_routes()
