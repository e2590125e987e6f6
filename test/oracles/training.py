"""Writes ../fixtures/training.json: losses of PyTorch's AdamW over steps of whole models, for test/train/follow.test.ts.

Texts are chains of tokens in which a few likely ones follow each, so that there is something to learn.

Usage: python test/oracles/training.py   (torch transformers)
"""

import json

import torch
from gradients import load
from tiny_models import OUT

torch.set_num_threads(1)
SETTINGS = {"rate": 5e-4, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clip": 1.0}
LENGTHS = (40, 23, 33)
FACTORS = {"balance": 0.01, "z": 0.001}


def chains(vocabulary, steps, seed):
    """Texts of each step. The draws are those of `chains` in the test: a 32-bit linear congruential generator."""
    state = seed

    def draw():
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2**32
        return state >> 16

    def chain(length):
        ids = [2 + draw() % (vocabulary - 2)]
        while len(ids) < length:
            ids.append(2 + (ids[-1] * (3, 5, 7, 7)[draw() % 4] + 11) % min(vocabulary - 2, 97))
        return ids

    return [[chain(n) for n in LENGTHS] for _ in range(steps)]


def loss_of(model, sequences, routers):
    routers.clear()
    total, count = 0.0, sum(len(own) - 1 for own in sequences)
    for own in sequences:
        ids = torch.tensor([own])
        logs = model(ids[:, :-1]).logits[0].log_softmax(-1)
        total = total - logs.gather(1, ids[0, 1:, None]).sum() / count
    added = 0.0
    for parts in routers.values():
        logits, places = (torch.cat(part) for part in zip(*parts))
        experts = logits.shape[1]
        shares = torch.bincount(places.flatten(), minlength=experts) / places.numel()
        added = added + FACTORS["balance"] * experts * (shares * logits.softmax(-1).mean(0)).sum()
        added = added + FACTORS["z"] * logits.logsumexp(-1).square().mean()
    return total, added


def train(name, steps, seed):
    model = load(name)
    routers = {}
    for path, module in model.named_modules():
        if hasattr(module, "weight") and path.endswith((".gate", ".router")):
            def keep(module, inputs, out, path=path):
                x = inputs[0].reshape(-1, module.weight.shape[1])
                routers.setdefault(path, []).append((torch.nn.functional.linear(x, module.weight), out[2].reshape(len(x), -1)))
            module.register_forward_hook(keep)
    data = chains(model.config.vocab_size, steps, seed)
    s = SETTINGS
    groups = [[p for p in model.parameters() if p.ndim > 1], [p for p in model.parameters() if p.ndim == 1]]
    optimiser = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": s["weightDecay"]}, {"params": groups[1], "weight_decay": 0.0}],
        lr=s["rate"], betas=(s["beta1"], s["beta2"]), eps=s["epsilon"])  # fmt: skip
    losses = []
    for step in range(steps):
        optimiser.zero_grad()
        loss, added = loss_of(model, data[step], routers)
        (loss + added).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), s["clip"])
        optimiser.step()
        losses.append(float(f"{loss.item():.8g}"))
    print(f"{name:20s} {losses[0]:.4f} -> {losses[19]:.4f} -> {losses[-1]:.4f}")
    return {"model": name, "settings": s, "factors": FACTORS, "lengths": LENGTHS, "seed": seed, "losses": losses}


if __name__ == "__main__":
    cases = [train("nano-base", 200, 1), train("moe-qwen2", 200, 2), train("gemma3", 200, 3)]
    (OUT.parent / "training.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
