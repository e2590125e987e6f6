"""Gates of pruning by PyTorch's autograd in float64: writes test/fixtures/gates.json, for each kind its weights, what it reads, the mean
cross-entropy to the right slots, its logits, and the gradients of the loss.

usage: python test/oracles/gates.py      (needs torch)
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(41)
HIDDEN, UNITS, SLOTS, ROWS = 9, 5, 3, 7
SHAPES = {
    "global": {"mean": (UNITS, HIDDEN), "now": (UNITS, HIDDEN), "bias": (UNITS,), "out": (SLOTS, UNITS), "outBias": (SLOTS,)},
    "hidden": {"out": (SLOTS, HIDDEN), "outBias": (SLOTS,)},
    "both": {"out": (SLOTS, HIDDEN), "entropy": (SLOTS, 1), "outBias": (SLOTS,)},
    "literal": {"entropy": (SLOTS, 1)},
}  # fmt: skip


def f32(*shape):
    return torch.randn(*shape, dtype=torch.float32).double()


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().flatten().tolist()]


m, h, slots = f32(ROWS, HIDDEN), f32(ROWS, HIDDEN), torch.arange(ROWS) % SLOTS
s = f32(ROWS, 1).abs()
cases = []
for kind, shapes in SHAPES.items():
    w = {name: f32(*shape).requires_grad_() for name, shape in shapes.items()}
    if kind == "global":
        logits = F.linear(F.silu(F.linear(m, w["mean"]) + F.linear(h, w["now"], w["bias"])), w["out"], w["outBias"])
    elif kind == "literal":
        logits = F.linear(s, w["entropy"])
    else:
        logits = F.linear(h, w["out"], w["outBias"]) + (F.linear(s, w["entropy"]) if kind == "both" else 0)
    loss = F.cross_entropy(logits, slots)
    loss.backward()
    cases.append({
        "kind": kind, "weights": {name: flat(t) for name, t in w.items()}, "loss": loss.item(), "logits": flat(logits),
        "gradients": {name: flat(t.grad) for name, t in w.items()},
    })  # fmt: skip
out = {"hidden": HIDDEN, "units": UNITS, "slots": SLOTS, "rows": ROWS, "mean": flat(m), "now": flat(h), "entropy": flat(s)}
path = Path(__file__).parent.parent / "fixtures" / "gates.json"
path.write_text(json.dumps({**out, "cases": cases}) + "\n")
