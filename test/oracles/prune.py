"""Writes ../fixtures/prune.json: entropies by mpmath, spread of samples by SciPy.

Usage: python test/oracles/prune.py   (needs `numpy`, `scipy` and `mpmath`)
"""

import json
import pathlib

import mpmath as mp
import numpy as np
from philox import uniforms
from scipy import stats

out = pathlib.Path(__file__).parent.parent / "fixtures" / "prune.json"
mp.mp.dps = 60
ORDERS = [0.3, 0.5, 0.9, 0.9999, 1 - 1e-8, 1, 1 + 2e-7, 1.00001, 1.2, 1.5, 1.8, 2, 7.5, 100]


def entropy(logits, q):
    powers = [mp.e ** mp.mpf(float(z)) for z in logits]
    total = sum(powers)
    p = [x / total for x in powers]
    q = mp.mpf(q)
    return -sum(x * mp.log(x) for x in p) if q == 1 else (1 - sum(x**q for x in p)) / (q - 1)


def rows():
    # logits are (u - 0.5) * spread + shift, u of src/random.ts
    for step, (length, spread, shift) in enumerate([(3, 4, 0), (50, 1, 1000), (257, 30, -50), (257, 300, 0), (512, 0, 7), (200, 1e-3, 3)]):
        logits = (uniforms(length, 11, step) - 0.5) * spread + shift
        yield {"stream": step, "length": length, "spread": spread, "shift": shift, "entropies": [float(entropy(logits, q)) for q in ORDERS]}


def samples():
    for stream, (length, power) in enumerate([(4, 1), (37, 3), (500, 0.2)]):
        x = uniforms(length, 12, stream) ** power if power != 1 else uniforms(length, 12, stream)
        skewness, kurtosis = stats.skew(x, bias=False), stats.kurtosis(x, bias=False)
        n = length
        sarle = (skewness**2 + 1) / (kurtosis + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))
        percentiles = [float(np.percentile(x, p)) for p in (0, 12.5, 50, 80, 100)]
        yield {
            "values": x.tolist(),
            "mean": float(x.mean()),
            "deviation": float(x.std(ddof=1)),
            "skewness": float(skewness),
            "kurtosis": float(kurtosis),
            "sarle": float(sarle),
            "percentiles": percentiles,
        }


out.write_text(json.dumps({"orders": ORDERS, "rows": list(rows()), "samples": list(samples())}) + "\n")
