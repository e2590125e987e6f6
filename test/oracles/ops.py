"""Reference results of the device's operations, in float64 by PyTorch: writes test/fixtures/ops.json.

usage: python test/oracles/ops.py      (needs torch)
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(20)
dt = torch.float64


def f32(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float32) * scale).to(dt)


def flat(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


out = {}
T, H, KV, D, BASE = 11, 6, 2, 12, 5
q, k, v = f32(T, H, D), f32(BASE + T, KV, D), f32(BASE + T, KV, D)


def attend(allowed):
    kk, vv = (t.repeat_interleave(H // KV, 1).transpose(0, 1) for t in (k, v))
    mask = torch.where(allowed, 0.0, float("-inf")).to(dt)
    return F.scaled_dot_product_attention(q.transpose(0, 1)[None], kk[None], vv[None], attn_mask=mask)[0].transpose(0, 1)


own = BASE + torch.arange(T)[:, None]
at = torch.arange(BASE + T)[None]
branch = torch.tensor([[0, 3 + i % 3, BASE + (i // 4) * 4] for i in range(T)])
out["attention"] = {
    "T": T, "heads": H, "kvHeads": KV, "headDim": D, "base": BASE, "q": flat(q), "k": flat(k), "v": flat(v),
    "causal": flat(attend(at <= own)), "window": 4, "windowed": flat(attend((at <= own) & (at > own - 4))),
    "mask": branch.flatten().tolist(),
    "masked": flat(attend(((at >= branch[:, :1]) & (at < branch[:, 1:2])) | ((at >= branch[:, 2:]) & (at <= own)))),
}
x, w = f32(5, 37), f32(37)
out["rmsNorm"] = {"rows": 5, "width": 37, "eps": 1e-5, "x": flat(x), "weight": flat(w), "y": flat(F.rms_norm(x, (37,), w, 1e-5))}
g, u = f32(3, 21, scale=4), f32(3, 21)
out["gatedActivation"] = {
    "rows": 3, "width": 21, "gate": flat(g), "up": flat(u),
    "silu": flat(F.silu(g) * u), "gelu-tanh": flat(F.gelu(g, approximate="tanh") * u),
}
x = f32(4, 29, scale=5)
out["softmax"] = {"rows": 4, "width": 29, "x": flat(x), "y": flat(F.softmax(x, -1))}
x = f32(3, 5003, scale=3)
p = F.softmax(x, -1)
lp = F.log_softmax(x, -1)
targets = [17, 5002, 0]
top = x.topk(2, -1)
out["logitStats"] = {
    "rows": 3, "width": 5003, "seed": 5, "order": 1.5, "targets": targets,
    "x": [float(f"{v:.6g}") for v in x.flatten().tolist()],
}
x = torch.tensor(out["logitStats"]["x"], dtype=torch.float32).to(dt).view(3, 5003)
p, lp, top = F.softmax(x, -1), F.log_softmax(x, -1), x.topk(2, -1)
out["logitStats"] |= {
    "max": flat(top.values[:, 0]), "logSumExp": flat(torch.logsumexp(x, -1)), "shannon": flat(-(p * lp).sum(-1)),
    "tsallis": flat((1 - p.pow(1.5).sum(-1)) / 0.5), "target": flat(torch.stack([lp[i, t] for i, t in enumerate(targets)])),
    "runnerUp": flat(top.values[:, 1]), "argmax": top.indices[:, 0].tolist(), "runnerUpAt": top.indices[:, 1].tolist(),
}
Path(__file__).parent.parent.joinpath("fixtures/ops.json").write_text(json.dumps(out))
