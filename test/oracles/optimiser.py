"""Steps of AdamW in float64 by PyTorch, with a gradient that is scaled, and decay: writes test/fixtures/optimiser.json.

usage: python test/oracles/optimiser.py      (needs torch)
"""
import json
from pathlib import Path

import torch

torch.manual_seed(7)
dt = torch.float64
N, STEPS = 23, 6
START = torch.randn(N, dtype=torch.float32).to(dt)
GRADIENTS = torch.randn(STEPS, N, dtype=torch.float32).to(dt) * torch.logspace(-4, 2, N, dtype=torch.float32).to(dt)
SCALE = 0.25


def flat(t):
    return [float(f"{v:.12g}") for v in t.flatten().tolist()]


GRADIENTS = GRADIENTS.float().to(dt)
cases = []
for rate, beta1, beta2, epsilon, decay in [(1e-3, 0.9, 0.999, 1e-8, 0.0), (3e-2, 0.8, 0.95, 1e-6, 0.1)]:
    theta = START.clone().requires_grad_()
    adam = torch.optim.AdamW([theta], lr=rate, betas=(beta1, beta2), eps=epsilon, weight_decay=decay)
    for gradient in GRADIENTS:
        theta.grad = gradient * SCALE
        adam.step()
    state = adam.state[theta]
    cases.append({
        "rate": rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weightDecay": decay,
        "theta": flat(theta.detach()), "m": flat(state["exp_avg"]), "v": flat(state["exp_avg_sq"]),
    })

out = {"start": flat(START), "gradients": [flat(g) for g in GRADIENTS], "gradientScale": SCALE, "cases": cases}
path = Path(__file__).parents[1] / "fixtures" / "optimiser.json"
path.write_text(json.dumps(out) + "\n")
