"""Writes ../fixtures/clusters.json: inertia and silhouettes by scikit-learn, over points of src/random.ts.

Usage: OMP_NUM_THREADS=1 python test/oracles/clusters.py   (needs `numpy` and `scikit-learn`; threads wait for each other for minutes)
"""

import json
import pathlib

import numpy as np
from philox import uniforms
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

out = pathlib.Path(__file__).parent.parent / "fixtures" / "clusters.json"


def points(stream, count, width, blobs, spread):
    # point i is centre i mod blobs, plus (u - 0.5) * spread
    centres = uniforms(blobs * width, 21, stream).reshape(blobs, width)
    noise = (uniforms(count * width, 22, stream).reshape(count, width) - 0.5) * spread
    return centres[np.arange(count) % blobs] + noise


sets = []
# where blobs of many dimensions are split further, no two programs find the same of thousands of local optima
for stream, (count, width, blobs, spread, most) in enumerate([(60, 2, 4, 0.05, 8), (90, 64, 3, 1.0, 3), (40, 3, 1, 1.0, 8), (7, 5, 7, 0.01, 6)]):
    x = points(stream, count, width, blobs, spread)
    found = []
    for k in range(2, most + 1):
        fitted = KMeans(k, n_init=1000, random_state=0, tol=0, max_iter=1000).fit(x)
        found.append({
            "count": k,
            "inertia": float(fitted.inertia_),
            "silhouette": float(silhouette_score(x, fitted.labels_)),
            "turns": float(silhouette_score(x, np.arange(count) % k)),
        })
    sets.append({"stream": stream, "count": count, "width": width, "blobs": blobs, "spread": spread, "found": found})
out.write_text(json.dumps({"sets": sets}) + "\n")
