"""Singular values and eigenvalues of small, awkward matrices for test/svd: LAPACK's (SciPy), and for those whose small values are to keep
their digits mpmath's with 400 bits.

usage: python test/oracles/svd.py   (numpy, scipy, mpmath); writes test/fixtures/svd.json
"""
import json
from pathlib import Path

import mpmath
import numpy as np
import scipy
import scipy.linalg as sl

mpmath.mp.prec = 400
rng = np.random.default_rng(20260101)


def orthogonal(n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def with_values(m, n, s):
    """A matrix with (about) these singular values."""
    k = len(s)
    return orthogonal(m)[:, :k] @ np.diag(s) @ orthogonal(n)[:k]


def symmetric(values):
    q = orthogonal(len(values))
    a = q @ np.diag(values) @ q.T
    return (a + a.T) / 2


def numbers(a):
    return [float(x) for x in np.asarray(a).ravel()]


def accurate(a):
    """Singular values by mpmath, correct to every digit of f64."""
    s = mpmath.svd_r(mpmath.matrix(a.tolist()), compute_uv=False)
    return [float(x) for x in s]


svd = []


def add(name, a, scale=1.0):
    """LAPACK gets the matrix without `scale`, by which everything is multiplied afterwards (a power of two)."""
    u, s, vt = sl.svd(a, full_matrices=False)
    gaps = min([abs(x - y) for x, y in zip(s, s[1:])] + [s[-1], np.inf]) / (s[0] or 1)
    svd.append({
        "name": name, "rows": a.shape[0], "columns": a.shape[1], "a": numbers(a * scale), "s": numbers(s * scale),
        # vectors are compared where they are well determined
        **({"u": numbers(u), "vt": numbers(vt)} if gaps > 1e-3 else {}),
    })


add("1x1", np.array([[-3.5]]))
add("2x2", rng.standard_normal((2, 2)))
add("5x3", rng.standard_normal((5, 3)))
add("3x5", rng.standard_normal((3, 5)))
add("one column", rng.standard_normal((7, 1)))
add("one row", rng.standard_normal((1, 7)))
add("square 16", rng.standard_normal((16, 16)))
add("tall 40x8", rng.standard_normal((40, 8)))
add("wide 8x40", rng.standard_normal((8, 40)))
add("graded 1e0 to 1e-15", with_values(16, 16, np.logspace(0, -15, 16)))
add("graded, tall", with_values(40, 12, np.logspace(0, -15, 12)))
add("equal values", with_values(14, 14, np.repeat([3.0, 2.0], 7)))
add("clustered values", with_values(15, 12, 1 + 1e-13 * np.arange(12)))
add("two clusters", with_values(20, 16, np.r_[1 + 1e-12 * np.arange(8), 1e-8 * (1 + 1e-9 * np.arange(8))]))
add("rank 3 of 9", rng.standard_normal((14, 3)) @ rng.standard_normal((3, 9)))
add("rank 1, wide", np.outer(rng.standard_normal(6), rng.standard_normal(15)))
add("identity", np.eye(9))
add("signed permutation", np.eye(10)[rng.permutation(10)] * rng.choice([-1, 1], 10))
add("zero", np.zeros((6, 4)))
add("zero, wide", np.zeros((2, 5)))
add("zero rows and columns", np.pad(rng.standard_normal((4, 3)), ((2, 3), (1, 4))))
add("ones", np.ones((8, 8)))
add("upper bidiagonal", np.diag(rng.standard_normal(12)) + np.diag(rng.standard_normal(11), 1))
add("diagonal with zeros", np.diag([0, 3.0, 0, -1, 2, 0]))
add("1e-150", rng.standard_normal((12, 7)), 2.0**-498)
add("1e150", rng.standard_normal((12, 7)), 2.0**498)
add("1e300", rng.standard_normal((6, 6)), 2.0**998)
add("Kahan", sl.toeplitz([1] + [0] * 15, [1] + [-0.3] * 15) * (0.9539**np.arange(16))[:, None])

relative = []
for name, m, n, decades in (("columns to 1e-30", 12, 12, 30), ("columns to 1e-120", 24, 10, 120), ("columns to 1e-15", 60, 20, 15)):
    a = rng.standard_normal((m, n)) * np.logspace(0, -decades, n)[rng.permutation(n)]
    relative.append({"name": name, "rows": m, "columns": n, "a": numbers(a), "s": accurate(a)})
a = (rng.standard_normal((10, 18)) * np.logspace(0, -40, 10)[:, None])
relative.append({"name": "rows to 1e-40, wide", "rows": 10, "columns": 18, "a": numbers(a), "s": accurate(a)})

eig = []


def add_eig(name, a, scale=1.0):
    w, v = sl.eigh(a, driver="evd")
    gaps = min([y - x for x, y in zip(w, w[1:])] + [np.inf]) / (np.abs(w).max() or 1)
    eig.append({
        "name": name, "n": a.shape[0], "a": numbers(a * scale), "values": numbers(w[::-1] * scale),
        **({"vectors": numbers(v.T[::-1])} if gaps > 1e-3 else {}),
    })


def random_symmetric(n):
    a = rng.standard_normal((n, n))
    return a + a.T


wilkinson = np.diag(np.abs(np.arange(-10.0, 11))) + np.diag(np.ones(20), 1) + np.diag(np.ones(20), -1)
add_eig("1x1", np.array([[-2.0]]))
add_eig("2x2", random_symmetric(2))
add_eig("3x3", random_symmetric(3))
add_eig("random 24", random_symmetric(24))
add_eig("positive definite", (lambda a: a @ a.T)(rng.standard_normal((16, 30))))
add_eig("negative definite", (lambda a: -a @ a.T)(rng.standard_normal((11, 30))))
add_eig("graded 1e0 to 1e-15", symmetric(np.logspace(0, -15, 18)))
add_eig("equal eigenvalues", symmetric(np.repeat([2.0, -1.0, 0.0], 6)))
add_eig("clustered", symmetric(1 + 1e-13 * np.arange(16)))
add_eig("rank 2", (lambda a: a @ a.T)(rng.standard_normal((13, 2))))
add_eig("zero", np.zeros((5, 5)))
add_eig("identity", np.eye(7))
add_eig("diagonal", np.diag([3.0, -1, 0, 2, 2, -1, 1e-20]))
add_eig("Wilkinson 21", wilkinson)
add_eig("1 2 1", 2 * np.eye(20) - np.eye(20, k=1) - np.eye(20, k=-1))
add_eig("blocks", sl.block_diag(random_symmetric(4), np.zeros((3, 3)), random_symmetric(5)))
add_eig("1e-150", random_symmetric(9), 2.0**-498)
add_eig("1e150", random_symmetric(9), 2.0**498)

where = Path(__file__).parent.parent / "fixtures" / "svd.json"
versions = f"numpy {np.__version__}, scipy {scipy.__version__}, mpmath {mpmath.__version__}"
where.write_text(json.dumps({"source": versions, "svd": svd, "relative": relative, "eig": eig}) + "\n")
print(where, where.stat().st_size, "bytes")
