"""An adapter as HydraLoRA's branch of peft saves it, of random numbers, and what it computes: writes test/fixtures/hydra/.

adapter_config.json with lora_nums, adapter_model.safetensors (the branch itself writes the same state as adapter_model.bin), and
reference.safetensors, in f32 with eager attention over ../fixtures/tiny/llama-gqa: ids [T] i32, logits [T, V] of the routers as they are, of
coefficients 1/n everywhere (mean) and of COEFFICIENTS (given); of one linear layer what it reads (input [T, K]), the coefficients of its router
[T, n] and what it adds [T, N].

usage: python test/oracles/hydra.py      (torch transformers safetensors)
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent
BASE = HERE.parent / "fixtures" / "tiny" / "llama-gqa"
OUT = HERE.parent / "fixtures" / "hydra"
RANK, ALPHA, HEADS, T = 3, 6, 3, 16
TARGETS = ["q_proj", "gate_proj", "down_proj"]
COEFFICIENTS = [0.2, 0.5, 0.15]
SITE = "model.layers.1.mlp.down_proj"


class HydraLinear(nn.Module):
    """As HydraLoRA computes it, without dropout; `fixed` coefficients take the router's place."""

    def __init__(self, inner, generator):
        super().__init__()
        self.inner, self.fixed, self.seen = inner, None, None
        n, k = inner.weight.shape
        draw = lambda rows, columns, spread: torch.randn(rows, columns, generator=generator) * spread
        self.lora_A = nn.Linear(k, RANK, bias=False)
        self.lora_A.weight.data = draw(RANK, k, k**-0.5)
        self.lora_route = nn.Linear(k, HEADS, bias=False)
        self.lora_route.weight.data = draw(HEADS, k, 1.5)
        for i in range(HEADS):
            b = nn.Linear(RANK, n, bias=False)
            b.weight.data = draw(n, RANK, 0.15)
            setattr(self, f"lora_B{i}", b)

    def forward(self, x):
        c = nn.functional.softmax(self.lora_route(x), dim=-1, dtype=torch.float32)
        if self.fixed is not None:
            c = torch.tensor(self.fixed).expand_as(c)
        inner = self.lora_A(x)
        added = sum(c[..., i, None] * getattr(self, f"lora_B{i}")(inner) * (ALPHA / RANK) for i in range(HEADS))
        self.seen = (x[0], c[0], added[0])
        return self.inner(x) + added


model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="eager").eval()
generator = torch.Generator().manual_seed(61)
sites = {}
for name, module in list(model.named_modules()):
    if name.split(".")[-1] not in TARGETS:
        continue
    sites[name] = HydraLinear(module, generator)
    setattr(model.get_submodule(name.rpartition(".")[0]), name.split(".")[-1], sites[name])
ids = (torch.arange(T) * 7 + 3) % model.config.vocab_size


def logits(fixed):
    for site in sites.values():
        site.fixed = fixed
    with torch.no_grad():
        return model(ids[None]).logits[0]


state = {f"base_model.model.{k}": v.contiguous() for k, v in model.state_dict().items() if "lora_" in k}
reference = {"mean": logits([1 / HEADS] * HEADS), "given": logits(COEFFICIENTS), "logits": logits(None)}
for key, value in zip(("input", "coefficients", "added"), sites[SITE].seen):
    reference[key] = value.detach()
OUT.mkdir(exist_ok=True)
save_file(state, OUT / "adapter_model.safetensors")
save_file({**{k: v.contiguous() for k, v in reference.items()}, "ids": ids.int()}, OUT / "reference.safetensors")
config = {
    "base_model_name_or_path": "llama-gqa", "bias": "none", "blc_alpha": 0.0, "blc_weight": 0.0, "enable_lora": None,
    "fan_in_fan_out": False, "inference_mode": True, "lora_alpha": ALPHA, "lora_dropout": 0.05, "lora_nums": HEADS,
    "merge_weights": False, "modules_to_save": None, "peft_type": "LORA", "r": RANK, "target_modules": TARGETS,
    "task_type": "CAUSAL_LM",
}  # fmt: skip
(OUT / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
print({k: float((reference["logits"] - v).norm() / reference["logits"].norm()) for k, v in reference.items() if k in ("mean", "given")})
