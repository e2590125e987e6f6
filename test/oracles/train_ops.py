"""Gradients of the device's operations, in float64 by PyTorch's autograd: writes test/fixtures/train-ops.json.

usage: python test/oracles/train_ops.py      (needs torch)
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(21)
dt = torch.float64


def f32(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float32) * scale).to(dt)


def flat(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


def gradients(of, inputs, dY):
    """The gradients of Σ dY · of(inputs) by each input."""
    leaves = [t.clone().requires_grad_() for t in inputs]
    return torch.autograd.grad((of(*leaves) * dY).sum(), leaves)


def case(of, inputs, dY, **rest):
    """Inputs by name, dY, and the gradient by each as d_NAME."""
    grads = gradients(of, inputs.values(), dY)
    named = {f"d_{name}": flat(g) for name, g in zip(inputs, grads)}
    return {name: flat(t) for name, t in inputs.items()} | {"dY": flat(dY)} | named | rest


out = {}
# groups are whole rows, or heads of rows
norm = lambda x, w: F.rms_norm(x, (w.numel(),), w, 1e-5)
out["rmsNorm"] = [
    case(norm, {"x": f32(7, 37, scale=s), "weight": f32(37)}, f32(7, 37), rows=7, width=37, eps=1e-5) for s in (1, 0.01)
] + [case(norm, {"x": f32(4, 3, 16), "weight": f32(16)}, f32(4, 3, 16), rows=4, width=48, eps=1e-5)]
# both activations over ±16, where they are flat, as well as around 0
sizes = {"rows": 3, "width": 21}
gate = torch.linspace(-16, 16, 63, dtype=torch.float32).to(dt).view(3, 21)
out["gatedActivation"] = {
    kind: case(lambda g, u: act(g) * u, {"gate": gate, "up": f32(3, 21)}, f32(3, 21), **sizes)
    for kind, act in (("silu", F.silu), ("gelu-tanh", lambda g: F.gelu(g, approximate="tanh")))
}
T, H, D, R = 5, 3, 12, 8
angles = torch.tensor([9.0, 3, 30, 8, 7])[:, None].to(dt) * 100 ** (-2 * torch.arange(R // 2).to(dt) / R)
table = torch.stack([1.1 * angles.cos(), 1.1 * angles.sin()], 1).to(torch.float32).to(dt)
cos, sin = table[:, :1], table[:, 1:]


def rope(x, interleaved):
    x = x.view(T, H, D)
    a, b = (x[..., 0:R:2], x[..., 1:R:2]) if interleaved else (x[..., : R // 2], x[..., R // 2 : R])
    u, w = a * cos - b * sin, b * cos + a * sin
    turned = torch.stack([u, w], -1).flatten(-2) if interleaved else torch.cat([u, w], -1)
    return torch.cat([turned, x[..., R:]], -1)


out["rope"] = {"rows": T, "heads": H, "headDim": D, "rotaryDims": R, "table": flat(table)} | {
    layout: case(lambda x: rope(x, layout == "interleaved"), {"x": f32(T, H * D)}, f32(T, H, D))
    for layout in ("half", "interleaved")
}
T, H, KV, D, BASE = 11, 6, 2, 12, 5
q, k, v, dOut = f32(T, H, D), f32(BASE + T, KV, D), f32(BASE + T, KV, D), f32(T, H, D)
own, at = BASE + torch.arange(T)[:, None], torch.arange(BASE + T)[None]
mask = torch.tensor([[0, 3 + i % 3, BASE + (i // 4) * 4] for i in range(T)])
wide = torch.tensor([[0, 2, 3, 4 + i % 2, BASE + (i // 4) * 4, BASE + (i * 7) % 3 + (i // 4) * 4] for i in range(T)])
between = lambda m, a, b: (at >= m[:, a : a + 1]) & (at < m[:, b : b + 1])
allowed = {
    "causal": at <= own,
    "windowed": (at <= own) & (at > own - 4),
    "masked": between(mask, 0, 1) | ((at >= mask[:, 2:]) & (at <= own)),
    "wide": between(wide, 0, 1) | between(wide, 2, 3) | ((at >= wide[:, 4:5]) & (at <= wide[:, 5:])),
}


def attend(q, k, v, seen):
    kk, vv = (t.repeat_interleave(H // KV, 1) for t in (k, v))
    scores = torch.einsum("thd,shd->ths", q, kk) / D**0.5
    scores = scores.masked_fill(~seen[:, None], float("-inf"))
    return torch.einsum("ths,shd->thd", scores.softmax(-1), vv), scores.logsumexp(-1)


out["attention"] = {
    "T": T, "heads": H, "kvHeads": KV, "headDim": D, "base": BASE, "window": 4, "q": flat(q), "k": flat(k), "v": flat(v),
    "dOut": flat(dOut), "masks": {"masked": mask.flatten().tolist(), "wide": wide.flatten().tolist()},
}
for name, seen in allowed.items():
    dq, dk, dv = gradients(lambda q, k, v: attend(q, k, v, seen)[0], (q, k, v), dOut)
    lse = attend(q, k, v, seen)[1]
    out["attention"][name] = {"logSumExp": flat(lse), "dQ": flat(dq), "dKeys": flat(dk), "dValues": flat(dv)}

T, V = 6, 53
logits, reference, weights = f32(T, V, scale=3), f32(T, V, scale=3), torch.tensor([0.5, 1, 0.25, 0, 2, 1], dtype=dt)
targets = torch.tensor([3, 52, -1, 7, 0, 20])
counted = targets >= 0
cross = lambda x: (weights * F.cross_entropy(x, targets.clamp(min=0), reduction="none") * counted).sum()
divergences = lambda x: F.kl_div(x.log_softmax(-1), reference.log_softmax(-1), reduction="none", log_target=True).sum(-1)
out["losses"] = {
    "rows": T, "width": V, "logits": flat(logits), "reference": flat(reference), "weights": flat(weights),
    "targets": targets.tolist(), "crossEntropy": flat(gradients(cross, (logits,), 1)[0]),
    "divergence": flat(gradients(lambda x: (weights * divergences(x)).sum(), (logits,), 1)[0]),
    "divergences": flat(divergences(logits)),
}
T, E, K = 5, 9, 3
places = torch.stack([torch.randperm(E)[:K] for _ in range(T)])
logits, dW = f32(T, E, scale=2), f32(T, K)


def weigh(z, score, renormalise, scale):
    if score == "selected-softmax":
        return scale * z.gather(1, places).softmax(-1)
    w = (z.softmax(-1) if score == "softmax" else z.sigmoid()).gather(1, places)
    return scale * (w / w.sum(-1, keepdim=True) if renormalise else w)


out["route"] = {
    "tokens": T, "experts": E, "k": K, "logits": flat(logits), "places": places.flatten().tolist(), "dWeights": flat(dW),
    "rules": [
        {
            "score": score, "renormalise": renormalise, "scale": scale,
            "dLogits": flat(gradients(lambda z: weigh(z, score, renormalise, scale), (logits,), dW)[0]),
        }
        for score in ("softmax", "selected-softmax", "sigmoid")
        for renormalise in (False, True)
        for scale in (1, 2.5)
    ],
}
shares = F.one_hot(places, E).sum((0, 1)).to(dt) / (T * K)
balance = lambda z: E * (shares * z.softmax(-1).mean(0)).sum()
zLoss = lambda z: z.logsumexp(-1).square().mean()
out["routerLosses"] = {
    "balance": balance(logits).item(), "z": zLoss(logits).item(),
    "d_balance": flat(gradients(balance, (logits,), 1)[0]), "d_z": flat(gradients(zLoss, (logits,), 1)[0]),
}
# a mixture whose experts are given: y by the order of experts, out = Σ weights · y, and x gathered to that order
d, slots = 7, places.flatten()
order = torch.argsort(slots, stable=True)
stands = torch.argsort(order)
combine = lambda y, w: (w[..., None] * y[stands].view(T, K, d)).sum(1)
out["combine"] = case(
    combine, {"y": f32(T * K, d), "weights": f32(T, K)}, f32(T, d), tokens=T, k=K, width=d, order=order.tolist()
)
out["gatherRows"] = case(lambda x: x[order // K], {"x": f32(T, d)}, f32(T * K, d))
out["sigmoidScale"] = case(lambda g, x: g.sigmoid() * x, {"gate": f32(T, 1, scale=3), "x": f32(T, d)}, f32(T, d))
Path(__file__).parent.parent.joinpath("fixtures/train-ops.json").write_text(json.dumps(out))
