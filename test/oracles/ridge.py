"""Kernel ridge regression of one-hot labels by scikit-learn: predictions, and each example left out in turn.

    python test/oracles/ridge.py > test/fixtures/ridge.json
"""

import json

import numpy as np
from sklearn.kernel_ridge import KernelRidge

WIDTH, PARTS, KINDS, CLASSES, CONSTANT = 4, 6, 2, 4, 0.1
SHARES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1]
WEIGHTS = [1, 0.5]


def case(seed, examples, queries, unlabelled):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, PARTS * WIDTH))
    labels = rng.integers(CLASSES, size=examples + queries)
    features = centres[labels] + 1.2 * rng.normal(size=(examples + queries, PARTS * WIDTH)) + 3
    features = features.astype("float32").astype("float64")
    kernel = np.zeros((len(features), len(features)))
    centre = features[:examples].mean(0)
    for part in range(PARTS):
        x = (features - centre)[:, part * WIDTH : (part + 1) * WIDTH]
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        kernel += WEIGHTS[part % KINDS] * x @ x.T / (PARTS * sum(WEIGHTS) / KINDS)
    kernel += CONSTANT
    known = np.arange(unlabelled, examples)
    y = np.eye(CLASSES)[labels]

    def fitted(rows, alpha, columns):
        model = KernelRidge(alpha=alpha, kernel="precomputed").fit(kernel[np.ix_(rows, rows)], y[rows])
        return model.predict(kernel[np.ix_(columns, rows)])

    def left_out(alpha):
        return np.array([fitted(known[known != i], alpha, [i])[0] for i in known])

    errors = [((left_out(share * len(known)) - y[known]) ** 2).sum() for share in SHARES]
    alpha = SHARES[int(np.argmin(errors))] * len(known)
    scores = left_out(alpha)
    asked = np.arange(examples, examples + queries)
    some = known[[1, 5, 6]]
    rest = np.setdiff1d(known, some)
    return {
        "width": WIDTH,
        "classes": CLASSES,
        "features": features.tolist(),
        "labels": [-1 if i < unlabelled else int(labels[i]) for i in range(examples)],
        "lambda": alpha,
        "accuracy": float((scores.argmax(1) == labels[known]).mean()),
        "left_out": scores.tolist(),
        "scores": fitted(known, alpha, asked).tolist(),
        "without": [int(i) for i in some],
        "scores_without": fitted(rest, alpha, asked).tolist(),
    }


print(json.dumps([case(1, 40, 6, 0), case(2, 30, 5, 7)], separators=(",", ":")))
