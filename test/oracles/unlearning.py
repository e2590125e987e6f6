"""Writes ../fixtures/unlearning.json: the exact two-sample test of Kolmogorov and Smirnov by SciPy and by counting paths in whole numbers, areas under
ROC curves by scikit-learn's definition, harmonic means by SciPy.

Usage: python test/oracles/unlearning.py   (needs `scipy`)
"""

import json
import math
import pathlib
import random
import warnings
from fractions import Fraction

from scipy.stats import hmean, ks_2samp, mannwhitneyu

warnings.simplefilter("error")
out = pathlib.Path(__file__).parent.parent / "fixtures" / "unlearning.json"
rng = random.Random(5)


def counted(m, n, h, lcm):
    """log10 of the share of paths that come to the edge, in whole numbers."""
    up, down = lcm // m, lcm // n
    row = [0] * (n + 1)
    for i in range(m + 1):
        for j in range(n + 1):
            if abs(i * up - j * down) >= h:
                row[j] = 0
            elif i == 0 and j == 0:
                row[j] = 1
            else:
                row[j] = (row[j] if i > 0 else 0) + (row[j - 1] if j > 0 else 0)
    total = math.comb(m + n, n)
    share = Fraction(total - row[n], total)
    return (math.log(share.numerator) - math.log(share.denominator)) / math.log(10)


def ks(a, b, exact):
    found = ks_2samp(a, b, method="exact")
    m, n = len(a), len(b)
    lcm = math.lcm(m, n)
    case = {"a": a, "b": b, "D": float(found.statistic), "p": float(found.pvalue)}
    if exact:
        case["log10p"] = counted(m, n, round(found.statistic * lcm), lcm) if found.statistic > 0 else 0.0
    return case


def sample(count, shift, ties):
    return [round(rng.gauss(shift, 1), 1 if ties else 6) for _ in range(count)]


cases = [ks([1.0], [1.0], True), ks([1.0], [2.0], True), ks([1.0], [0.5, 2.0, 3.0], True), ks([0.0] * 5, [0.0] * 8, True), ks([1.0, 1.0, 2.0], [1.0, 3.0, 3.0], True)]
for m, n, shift in [(5, 5, 1), (7, 5, 0), (12, 18, 1), (40, 40, 1), (40, 37, 2), (60, 90, 0.3), (1, 50, 3), (100, 99, 5), (200, 200, 0.7), (120, 200, 9), (250, 250, 0)]:
    for ties in (False, True):
        cases.append(ks(sample(m, 0, ties), sample(n, shift, ties), True))
# without overlap, where p is below what a double holds: only its logarithm
far = [{"sizes": [m, n], "log10p": counted(m, n, math.lcm(m, n), math.lcm(m, n))} for m, n in [(400, 400), (600, 600), (600, 500), (401, 560)]]

areas = []
for m, n, shift in [(1, 1, 0), (5, 3, 1), (30, 40, 0.5), (20, 20, 0)]:
    for ties in (False, True):
        low, high = [round(x) if ties else x for x in sample(m, 0, False)], [round(x) if ties else x for x in sample(n, shift, False)]
        areas.append({"below": low, "above": high, "area": float(mannwhitneyu(high, low).statistic) / (m * n)})

means = []
for _ in range(5):
    figures = [rng.random() for _ in range(9)]
    means.append({"figures": figures, "mean": float(hmean(figures))})
out.write_text(json.dumps({"ks": cases, "far": far, "areas": areas, "means": means}, separators=(",", ":")) + "\n")
print(f"{out.name}: {len(cases)} tests, {out.stat().st_size} bytes")
