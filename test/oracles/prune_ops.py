"""What pruning adds to the device's operations: writes test/fixtures/prune-ops.json. Entropies by mpmath, gradients in float64 by PyTorch's autograd.

usage: python test/oracles/prune_ops.py      (needs torch, mpmath)
"""
import json
from pathlib import Path

import torch
from mpmath import exp, log, mp, mpf

mp.dps = 60
torch.manual_seed(22)
dt = torch.float64
ORDERS = [0.5, 0.8, 1 - 1e-3, 1 - 1e-6, 1, 1 + 1e-6, 1 + 1e-3, 1.2, 1.5, 2]


def f32(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float32) * scale).to(dt)


def flat(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


def entropy(logits, q):
    """S_q of a row, to 60 digits; null stands for minus infinity."""
    z = [mpf(x) for x in logits if x is not None]
    most = max(z)
    powers = [exp(x - most) for x in z]
    total = sum(powers)
    p = [x / total for x in powers]
    if q == 1:
        return -sum(x * log(x) for x in p)
    return (1 - sum(x ** mpf(q) for x in p)) / (mpf(q) - 1)


# what others have published, to all their digits
for q, published in {0.5: 1.40408587, 1: 1.02965301, 1.5: 0.78537425, 2: 0.62}.items():
    assert abs(entropy([log(mpf(p)) for p in ("0.5", "0.3", "0.2")], q) - published) < 5e-9
spread = lambda n, factor, add=0: [((i * 7919) % 1001) * factor + add for i in range(n)]
rows = {
    "random, 53": flat(f32(53, scale=3)),
    "uniform, 37": [0.75] * 37,
    "one": [3.0],
    "almost one-hot": [9.0 if i == 5 else 0.25 * (i % 3) - 2 for i in range(30)],
    "one-hot": [0.0 if i != 2 else 1000.0 for i in range(11)],
    "large": [x + 10000 for x in spread(21, 1 / 64)],
    "far below": spread(30, -1 / 4, -3000),
    "with minus infinity": [None if i % 3 == 1 else 0.125 * i for i in range(22)],
    "largest in the second chunk": [12.0 if i == 4500 else x for i, x in enumerate(spread(5003, 1 / 64, -8))],
    "flat, long": spread(5003, 1 / 1024),
}
assert all(x is None or float(torch.tensor(x, dtype=torch.float32)) == x or name[0] == "r" for name, row in rows.items() for x in row)
rows["random, 53"] = [float(torch.tensor(x, dtype=torch.float32)) for x in rows["random, 53"]]
# the long ones are made again by whoever reads this: [count, factor, add, place of the largest or null]
LONG = {"largest in the second chunk": [5003, 1 / 64, -8, 4500], "flat, long": [5003, 1 / 1024, 0, None]}
out = {
    "entropy": {
        "orders": ORDERS,
        "rows": [
            {
                "name": name, **({"long": LONG[name]} if name in LONG else {"logits": row}),
                "entropies": [float(entropy(row, q)) for q in ORDERS],
            }
            for name, row in rows.items()
        ],
    }
}

T, V = 7, 53
logits = f32(T, V, scale=3)
weights = torch.tensor([0.5, 1, 0.25, 0, 2, -1.5, 1], dtype=dt)
targets = torch.tensor([3, 52, -1, 7, 0, 20, 11])
logits[4, 0] = logits[4].max() + 1  # the target is the likeliest
logits[5, [9, 30]] = logits[5].max() + 2  # two others are the likeliest alike: the lower counts
logits[6, 11], logits[6, 40] = logits[6].max() + 1, logits[6].max() + 1  # the target and another are alike
logits = logits.float().to(dt)


def slope(of, x):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(of(leaf), leaf)[0]


def tsallis(x, q):
    lp = x.log_softmax(-1)
    return -(lp.exp() * lp).sum(-1) if q == 1 else (1 - (q * lp).exp().sum(-1)) / (q - 1)


def hinge(x, targets=targets):
    p = x.softmax(-1)
    at = targets.clamp(min=0)[:, None]
    own = p.gather(1, at)[:, 0]
    others = p.scatter(1, at, -1)
    best = others.argmax(-1, keepdim=True)  # the first of equals
    return torch.where(targets >= 0, 1 + own - p.gather(1, best)[:, 0], torch.zeros(()).to(dt))


small, zero = torch.tensor([[2, 1, 0.5, -1]], dtype=dt), torch.tensor([0])
near = lambda got, *published: all(abs(a - b) < 6e-9 for a, b in zip(got.flatten().tolist(), published))
assert near(hinge(small, zero), 1.38525222) and near(tsallis(small, 1.5), 0.72521945)
assert near(slope(lambda x: hinge(x, zero).sum(), small), 0.37466421, -0.31058438, -0.05239003, -0.0116898)
assert near(slope(lambda x: tsallis(x, 1.5).sum(), small), -0.26198665, 0.11023249, 0.10958947, 0.0421647)
reference = f32(T, scale=0.5) + 1
out["losses"] = {
    "rows": T, "width": V, "logits": flat(logits), "weights": flat(weights), "targets": targets.tolist(), "reference": flat(reference),
    "hinge": flat(hinge(logits)), "d_hinge": flat(slope(lambda x: (weights * hinge(x)).sum(), logits)),
    "d_entropy": [
        {"order": q, "dLogits": flat(slope(lambda x: (weights * tsallis(x, q)).sum(), logits))}
        for q in (0.5, 1 - 1e-6, 1, 1.5, 2)
    ],
    "d_squares": flat(slope(lambda x: (weights * (tsallis(x, 1.5) - reference).square()).sum(), logits)),
}  # fmt: skip

# terms that share A: one that is always there, and two by coefficients of their own
T, K, N, R, E = 9, 21, 14, 5, 3
x, A, dY, c = f32(T, K), f32(R, K, scale=0.3), f32(T, N), f32(T, E)
B = [f32(N, R, scale=0.5) for _ in range(3)]
terms = [{"scale": 0.5}, {"scale": -1.5, "expert": 2}, {"scale": 0.75, "expert": 0}]


def routed(x, A, c, *B):
    inner = x @ A.T
    factor = lambda term: c[:, term["expert"]][:, None] if "expert" in term else 1
    return sum(term["scale"] * (factor(term) * inner) @ b.T for term, b in zip(terms, B))


leaves = [t.clone().requires_grad_() for t in (x, A, c, *B)]
dX, dA, dC, *dB = torch.autograd.grad((routed(*leaves) * dY).sum(), leaves)
out["routed"] = {
    "rows": T, "inputs": K, "outputs": N, "rank": R, "experts": E, "terms": terms, "x": flat(x), "a": flat(A), "b": [flat(b) for b in B],
    "routing": flat(c), "dOut": flat(dY), "out": flat(routed(x, A, c, *B)), "dX": flat(dX), "dA": flat(dA), "dB": [flat(b) for b in dB],
    "dRouting": flat(dC),
}  # fmt: skip
Path(__file__).parent.parent.joinpath("fixtures/prune-ops.json").write_text(json.dumps(out))
