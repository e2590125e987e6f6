"""The random numbers of src/random.ts."""

import numpy as np


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011) on arrays of 64-bit integers that hold 32-bit words."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = key
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), p1 & mask, (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniforms(count, seed, stream):
    steps = np.arange(count, dtype=np.uint64)
    zero = np.zeros(count, np.uint64)
    a, b, _, _ = philox((steps & np.uint64(0xFFFFFFFF), steps >> np.uint64(32), zero + np.uint64(stream), zero), (seed & 0xFFFFFFFF, seed >> 32))
    return ((a >> np.uint64(5)).astype(np.float64) * 2**26 + (b >> np.uint64(6)).astype(np.float64)) / 2**53
