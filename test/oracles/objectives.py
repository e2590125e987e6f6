"""Writes ../fixtures/objectives.json: losses of unlearning and their gradients, of a tiny model with terms of experts weighed by row, by PyTorch in f64.

The terms share one A a matrix; their numbers are a formula (`factor`), which the test has, too.

Usage: python test/oracles/objectives.py   (torch transformers safetensors)
"""

import json
import math

import torch
from gradients import FREQUENCIES, LENGTHS, described
from tiny_models import OUT
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
NAME, REFERENCE = "llama-bias", "llama-gqa"
RANK, SCALE = 3, 0.7
SITES = {"q": "self_attn.q_proj", "down": "mlp.down_proj"}
KEPT = ("model.embed_tokens.weight", "model.norm.weight", "model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.down_proj.weight")
assert len(FREQUENCIES) == 4


def load(name):
    model = AutoModelForCausalLM.from_pretrained(OUT / name, dtype=torch.float32, attn_implementation="eager").eval().double()
    model.get_input_embeddings().padding_idx = None
    return model


def factor(count, seed):
    return torch.tensor([0.3 * math.cos((1 + seed * 0.37) * (i + 1)) for i in range(count)], dtype=torch.float32).double()


model, reference = load(NAME), load(REFERENCE)
vocab = model.config.vocab_size
generator = torch.Generator().manual_seed(15)
rows = sum(LENGTHS)
routing = torch.tensor([[1.0 if row % 3 == 0 else 0.0, 0.5 - (row % 4) / 2] for row in range(rows)], dtype=torch.float64)
current = slice(0, 0)
factors = {}
for layer in range(2):
    for site, path in SITES.items():
        module = model.get_submodule(f"model.layers.{layer}.{path}")
        n, k = module.weight.shape
        own = []
        for part, shape in (("a", (RANK, k)), ("b", (n, RANK)), ("b0", (n, RANK)), ("b1", (n, RANK))):
            own.append(factor(shape[0] * shape[1], len(factors) + 1).reshape(shape).requires_grad_())
            factors[f"{layer}.{site}.{part}"] = own[-1]

        def add(module, inputs, out, own=own):
            a, b, b0, b1 = own
            inner = inputs[0] @ a.T
            c = routing[current]
            return out + SCALE * (inner @ b.T + (c[:, :1] * inner) @ b0.T + (c[:, 1:] * inner) @ b1.T)

        module.register_forward_hook(add)

ids, targets = [], []
for n, length in enumerate(LENGTHS):
    own = torch.randint(1, vocab, (length,), generator=generator)
    target = torch.cat((own[1:], torch.tensor([-1])))
    if n == 0:
        target[:6] = -1
    ids += own.tolist()
    targets += target.tolist()
target = torch.tensor(targets)


def some(share, low, high):
    """Weights by row, of some rows; exact in f32."""
    drawn = low + (high - low) * torch.rand(rows, generator=generator)
    drawn[torch.rand(rows, generator=generator) >= share] = 0
    return [float(x) for x in drawn]


def keep(of):
    """The residual stream behind each layer of the last pass, by hooks: what transformers gives for the last layer is normed."""
    kept = {}
    for layer, module in enumerate(of.model.layers):
        module.register_forward_hook(lambda _, __, out, layer=layer: kept.__setitem__(layer, kept.get(layer, []) + [out[0] if isinstance(out, tuple) else out]))
    return kept


streams, reference_streams = keep(model), keep(reference)


def forward(of):
    global current
    logits, start = [], 0
    for kept in (streams, reference_streams):
        if (kept is streams) == (of is model):
            kept.clear()
    for length in LENGTHS:
        current = slice(start, start + length)
        logits.append(of(torch.tensor([ids[start : start + length]])).logits[0])
        start += length
    return torch.cat(logits)


def entropy(p, q):
    return -(p * p.log()).sum(-1) if q == 1 else (1 - (p**q).sum(-1)) / (q - 1)


def case(name, weights=None, hinge=None, invariance=None, distillation=None, divergence=0.0, steering=None):
    parameters = [p for key, p in model.named_parameters() if key in KEPT] + list(factors.values())
    for p in model.parameters():
        p.grad = None
    for p in parameters:
        p.grad = None
    logits = forward(model)
    logs = logits.log_softmax(-1)
    with torch.no_grad():
        z = forward(reference)
    tensor = lambda list: torch.tensor(list, dtype=torch.float64)  # noqa: E731
    has = target >= 0
    at = torch.arange(rows)[has]
    nll = -logs[at, target[has]]
    losses = {key: torch.zeros((), dtype=torch.float64) for key in ("crossEntropy", "divergence", "hinge", "invariance", "distillation", "steering")}
    weights = weights or [0.0] * rows
    losses["crossEntropy"] = (tensor(weights)[has] * nll).sum()
    if divergence:
        wanted = z.log_softmax(-1)
        losses["divergence"] = (tensor(weights)[has] * (wanted.exp() * (wanted - logs)).sum(-1)[has]).sum()
    if hinge:
        p = logs.exp()
        others = p.clone()
        others[at, target[has]] = -1
        losses["hinge"] = (tensor(hinge)[has] * (1 + p[at, target[has]] - others[at].max(-1).values)).sum()
    if invariance:
        own = entropy(logs.exp(), invariance["order"])
        change = own if invariance["base"] is None else (own - tensor(invariance["base"])) ** 2
        losses["invariance"] = (tensor(invariance["weights"]) * change).sum()
    if distillation:
        shifted = z.clone()
        shifted[at, target[has]] -= distillation["penalty"]
        losses["distillation"] = -(tensor(distillation["weights"]) * (shifted.softmax(-1) * logs).sum(-1)).sum()
    if steering:
        rows_of = lambda kept: torch.cat([h.reshape(-1, h.shape[-1]) for h in kept[steering["layer"]]])  # noqa: E731
        wanted = rows_of(reference_streams).detach() if steering["target"] is None else tensor(steering["target"])
        losses["steering"] = (tensor(steering["weights"]) * ((rows_of(streams) - wanted) ** 2).mean(-1)).sum()
    total = sum(loss * (divergence if key == "divergence" else 1) for key, loss in losses.items())
    total.backward()
    named = {key: p for key, p in model.named_parameters() if key in KEPT} | factors
    print(f"{name:14s} {total.item():.6f}")
    return {
        "name": name, "weights": weights, "hinge": hinge, "invariance": invariance, "distillation": distillation, "divergence": divergence,
        "losses": {key: loss.item() for key, loss in losses.items()},
        "steering": steering,
        "gradients": {key: described(torch.zeros_like(p) if p.grad is None else p.grad) for key, p in named.items()},
    }  # fmt: skip


def invariance(order):
    return {"order": order, "base": some(1, 0.5, 2), "weights": some(0.6, 0.01, 0.1)}


direction = [0.5 * math.cos(1.3 * (i + 1)) for i in range(model.config.hidden_size)]
direction = [float(x) for x in torch.tensor(direction, dtype=torch.float32)]


def steering(layer, target):
    return {"layer": layer, "target": target, "weights": some(0.7, 0.1, 1)}


cases = [
    case("hinge", hinge=some(0.7, 0.01, 0.1)),
    case("entropy 0.8", invariance=invariance(0.8)),
    case("Shannon", invariance=invariance(1)),
    case("entropy 1.5", invariance=invariance(1.5)),
    case("undial", distillation={"penalty": 10, "weights": some(0.7, 0.01, 0.1)}),
    case("self", distillation={"penalty": 0, "weights": some(0.7, 0.01, 0.1)}),
    case("ascent", weights=some(0.8, -0.1, -0.01)),
    case("difference", weights=some(0.9, -0.1, 0.1)),
    case("all", weights=some(0.7, -0.05, 0.1), hinge=some(0.5, 0.01, 0.1), invariance=invariance(1.5),
         distillation={"penalty": 2.5, "weights": some(0.5, 0.01, 0.1)}, divergence=0.7),
    case("entropy itself", invariance={"order": 1.5, "base": None, "weights": some(0.6, -0.1, 0.1)}),
    case("steered", steering=steering(0, direction)),
    case("kept", steering=steering(1, None)),
    case("steered, and more", weights=some(0.7, -0.05, 0.1), hinge=some(0.5, 0.01, 0.1), steering=steering(0, None)),
]  # fmt: skip
written = {
    "model": NAME, "reference": REFERENCE, "rank": RANK, "scale": SCALE, "lengths": LENGTHS, "ids": ids, "targets": targets,
    "routing": routing.flatten().tolist(),
}  # fmt: skip
with (OUT.parent / "objectives.json").open("w") as file:
    file.write(json.dumps(written)[:-1] + ',\n"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
