"""Reference of the trainer, by PyTorch and transformers: writes test/fixtures/train.json.

- learning rates of transformers' get_scheduler with one more step of warm-up and in all, whose first, of rate 0, is left out
- a model of two matrices and a bias, trained in float64 by torch.optim.AdamW with clip_grad_norm_, over steps of two unequal batches with rows
  without a target; once with all of it trained, once with a part frozen at first

usage: python test/oracles/train.py      (needs torch, transformers)
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import get_scheduler

torch.manual_seed(14)
dt = torch.float64


def flat(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


def optimiser_of(groups, lr, wd):
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=wd)


def scheduler_of(name, optimiser, warmup, steps):
    scheduler = get_scheduler(name, optimiser, num_warmup_steps=warmup + 1, num_training_steps=steps + 1)
    optimiser.step()
    scheduler.step()
    return scheduler


# ---- schedules
schedules = []
for kind, name in (("linear", "linear"), ("cosine", "cosine"), ("constant", "constant_with_warmup")):
    for warmup, steps in ((0, 7), (3, 20), (20, 20), (5, 5), (1, 1)):
        optimiser = optimiser_of([torch.nn.Parameter(torch.zeros(1))], 2e-3, 0)
        scheduler = scheduler_of(name, optimiser, warmup, steps)
        rates = []
        for _ in range(steps + 1):
            rates.append(scheduler.get_last_lr()[0])
            optimiser.step()
            scheduler.step()
        schedules.append({"kind": kind, "warmup": warmup, "steps": steps, "peak": 2e-3, "rates": rates})

# ---- training
V, D, STEPS, WARMUP, PEAK, DECAY, CLIP = 13, 6, 24, 4, 3e-2, 0.1, 0.4
start = {name: torch.randn(*shape, dtype=torch.float32).to(dt) * 0.5 for name, shape in
         (("embed", (V, D)), ("head", (V, D)), ("bias", (V,)))}
batches = []
for _ in range(STEPS):
    step = []
    for rows in (9, 5):
        ids, targets = torch.randint(V, (rows,)), torch.randint(V, (rows,))
        targets[torch.rand(rows) < 0.3] = -1
        targets[0] = 1
        step.append({"ids": ids.tolist(), "targets": targets.tolist()})
    batches.append(step)
held_out = {"ids": torch.randint(V, (20,)).tolist(), "targets": torch.randint(V, (20,)).tolist()}


def logits_of(p, ids):
    return p["embed"][ids] @ p["head"].T + p["bias"]


def run(frozen, until):
    p = {name: torch.nn.Parameter(t.clone()) for name, t in start.items()}
    groups = [{"params": [p["embed"], p["head"]]}, {"params": [p["bias"]], "weight_decay": 0.0}]
    optimiser = optimiser_of(groups, PEAK, DECAY)
    scheduler = scheduler_of("cosine", optimiser, WARMUP, STEPS)
    losses, norms = [], []
    for s, step in enumerate(batches):
        for name, parameter in p.items():
            parameter.requires_grad_(s >= until or name not in frozen)
        optimiser.zero_grad(set_to_none=True)
        count = sum(t >= 0 for b in step for t in b["targets"])
        loss = sum(F.cross_entropy(logits_of(p, torch.tensor(b["ids"])), torch.tensor(b["targets"]), ignore_index=-1,
                                   reduction="sum") for b in step) / count
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([q for q in p.values() if q.requires_grad], CLIP)
        losses.append(float(loss.detach()))
        norms.append(float(norm))
        optimiser.step()
        scheduler.step()
    held = F.cross_entropy(logits_of(p, torch.tensor(held_out["ids"])), torch.tensor(held_out["targets"]))
    return {"frozen": frozen, "until": until, "losses": losses, "norms": norms, "heldOut": float(held),
            "weights": {name: flat(t.detach()) for name, t in p.items()}}


out = {
    "schedules": schedules,
    "training": {
        "vocab": V, "width": D, "steps": STEPS, "warmup": WARMUP, "peak": PEAK, "decay": DECAY, "clip": CLIP,
        "start": {name: flat(t) for name, t in start.items()}, "batches": batches, "heldOut": held_out,
        "runs": [run([], 0), run(["embed", "bias"], 8)],
    },
}
path = Path(__file__).parent.parent / "fixtures/train.json"
path.write_text(json.dumps(out))
print(path, path.stat().st_size)
