"""Writes ../fixtures/gradients.json: losses and gradients of whole models by PyTorch, of a few sequences with weights of their own.

Sequences go through transformers one by one, so that what packs them must keep them apart; losses of routers are of all their tokens together.
Each gradient is told by its norm, four weighed sums and four of its elements: all of them would be megabytes.

Usage: python test/oracles/gradients.py [MODEL …]   (those alone; torch transformers safetensors)
"""

import json
import math
import pathlib
import sys

import tiny_moe
import torch
from tiny_models import HF, OUT
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
MODELS = pathlib.Path(__file__).parent.parent.parent / "models"
FILE = OUT.parent / "gradients.json"
LENGTHS = (19, 5, 12)  # beyond the windows of tiny models
FREQUENCIES = (1.0, 2**0.5, 2.2, 0.37)
# its frequencies depend on the length of each sequence
LEFT_OUT = {"llama-rope-dynamic"}
OWN = {"moe-espalier-dots1": (tiny_moe.dots1, 320), "moe-espalier-interleaved": (tiny_moe.interleaved, 321)}
# model: what the divergence is measured from
REFERENCES = {"llama-bias": "llama-gqa", "moe-granite": "moe-granite-bf16"}


def load(name):
    folder = MODELS / name if name == "nano-base" else OUT / name
    if name in OWN:
        build, seed = OWN[name]
        with torch.no_grad():
            _, config, model = build()
            return tiny_moe.filled(config, model, seed).float().eval()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    # else the row of the padding token, which may be the one that ends texts, had no gradient as an input
    model.get_input_embeddings().padding_idx = None
    return model


def own_names(name, gradient):
    """What we call a parameter of transformers, or what we make of it."""
    name = name.replace("block_sparse_moe.experts", "mlp.experts").replace("mlp.mlp.", "mlp.")
    name = name.replace("block_sparse_moe.router", "mlp.gate").replace("mlp.mlp.", "mlp.")
    name = name.replace(".shared_experts.", ".shared_expert.")
    at = name.removesuffix("gate_up_proj")
    if at != name:
        gate, up = gradient.chunk(2, 1)
        return {f"{at}gate_proj.weight": gate, f"{at}up_proj.weight": up}
    if name.endswith("experts.down_proj"):
        return {name + ".weight": gradient}
    if "shared_mlp." in name:
        at = name[: name.index("shared_mlp.")].removesuffix("mlp.") + "mlp.shared_expert."
        if "output_linear" in name:
            return {f"{at}down_proj.weight": gradient}
        gate, up = gradient.chunk(2)
        return {f"{at}gate_proj.weight": gate, f"{at}up_proj.weight": up}
    return {name: gradient}


def described(gradient):
    g = gradient.double().flatten()
    i = torch.arange(1, g.numel() + 1, dtype=torch.float64)
    rounded = lambda x: float(f"{x:.9g}")  # noqa: E731
    return {
        "size": g.numel(),
        "norm": rounded(g.norm().item()),
        "sums": [rounded((g * torch.cos(f * i)).sum().item()) for f in FREQUENCIES],
        "samples": [rounded(g[(2 * k + 1) * g.numel() // 8].item()) for k in range(4)],
    }


def case(name, seed):
    model = load(name)
    reference = load(REFERENCES[name]) if name in REFERENCES else None
    routers = {}  # of each layer: logits and choices, sequence by sequence
    for path, module in model.named_modules():
        if hasattr(module, "weight") and path.endswith((".gate", ".router")):
            def keep(module, inputs, out, path=path):
                x = inputs[0].reshape(-1, module.weight.shape[1])
                assert not out[2].is_floating_point()
                routers.setdefault(path, []).append((torch.nn.functional.linear(x, module.weight), out[2].reshape(len(x), -1)))
            module.register_forward_hook(keep)
    generator = torch.Generator().manual_seed(seed)
    factors = {
        "balance": 0.1 if name.startswith("moe-") else 0.0, "z": 0.05 if name.startswith("moe-") else 0.0,
        "divergence": 0.7 if reference else 0.0,
    }  # fmt: skip
    ids, targets, weights, losses = [], [], [], {"crossEntropy": 0.0, "balance": 0.0, "z": 0.0, "divergence": 0.0}
    for n, length in enumerate(LENGTHS):
        own = torch.randint(1, model.config.vocab_size, (length,), generator=generator)
        target = torch.cat((own[1:], torch.tensor([-1])))
        if n == 0:
            target[:6] = -1  # a prompt
        weight = (0.5 + torch.rand(length, generator=generator)) / sum(LENGTHS)
        ids += own.tolist()
        targets += target.tolist()
        weights += weight.tolist()
        rows = target >= 0
        logs = model(own[None]).logits[0][rows].log_softmax(-1)
        losses["crossEntropy"] = losses["crossEntropy"] - (weight[rows] * logs.gather(1, target[rows, None])[:, 0]).sum()
        if reference:
            wanted = reference(own[None]).logits[0][rows].log_softmax(-1).detach()
            losses["divergence"] = losses["divergence"] + (weight[rows] * (wanted.exp() * (wanted - logs)).sum(-1)).sum()
    for parts in routers.values():
        logits, places = (torch.cat(part) for part in zip(*parts))
        experts = logits.shape[1]
        shares = torch.bincount(places.flatten(), minlength=experts) / places.numel()
        losses["balance"] = losses["balance"] + experts * (shares * logits.softmax(-1).mean(0)).sum()
        losses["z"] = losses["z"] + logits.logsumexp(-1).square().mean()
    total = losses["crossEntropy"] + sum(factor * losses[key] for key, factor in factors.items())
    total.backward()
    gradients = {}
    for key, p in model.named_parameters():
        if p.grad is not None:
            gradients |= own_names(key, p.grad)
    print(f"{name:28s} loss {total.item():.4f}, {len(gradients)} gradients")
    return {
        "model": name, "reference": REFERENCES.get(name), "lengths": LENGTHS, "ids": ids, "targets": targets,
        "weights": [float(f"{w:.9g}") for w in weights], "factors": factors,
        "losses": {key: float(torch.as_tensor(loss).detach()) for key, loss in losses.items()},
        "gradients": {key: described(g) for key, g in gradients.items()},
    }  # fmt: skip


if __name__ == "__main__":
    names = [n for n in HF if n not in LEFT_OUT and not n.startswith("gguf-")] + list(tiny_moe.STOCK) + list(OWN) + ["nano-base"]
    before = {c["model"]: c for c in json.loads(FILE.read_text())} if FILE.exists() else {}
    chosen = sys.argv[1:] or names
    cases = [case(n, 700 + i) if n in chosen else before[n] for i, n in enumerate(names)]
    FILE.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
