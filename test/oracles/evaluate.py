"""Writes ../fixtures/evaluate.json: BM25 scores, macro-F1, quantiles, bootstrap intervals and divergences from other libraries.

Usage: python test/oracles/evaluate.py   (needs `bm25s`, `scikit-learn`, `scipy` and `numpy`)
"""

import json
import pathlib
import re

import bm25s
import numpy as np
from philox import uniforms
from scipy.special import log_softmax, rel_entr
from sklearn.metrics import accuracy_score, f1_score

out = pathlib.Path(__file__).parent.parent / "fixtures" / "evaluate.json"
rng = np.random.default_rng(11)


def bootstrap(count, statistic, resamples, level, seed):
    drawn = np.floor(count * uniforms(resamples * count, seed, 80)).astype(int).reshape(resamples, count)
    found = [statistic(row) for row in drawn]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return {"value": statistic(np.arange(count)), "low": low, "high": high, "resamples": resamples, "level": level, "seed": seed}


# BM25 in the form of Lucene
texts = [
    "How far is it from Denver to Aspen ?",
    "What county is Modesto , California in ?",
    "Who was Galileo ?",
    "What is an atom ?",
    "When did Hawaii become a state ?",
    "How tall is the Sears Building , and how tall is the Eiffel Tower ?",
    "What is the average weight of a Yellow Labrador ?",
    "Wer war Galileo Galilei, und was sah er 1610 ?",
    "!!!",
    "Who was it ?",
]
queries = [
    "How far is it ?",
    "Who was Galileo , who was it , and how tall was he ?",
    "nothing of this occurs",
    "what what what",
    "is",
    "tower 1610",
]
words = lambda text: re.findall(r"\w+", text.lower())
cases = []
for k1, b in ((1.2, 0.75), (0.0, 0.0), (2.0, 1.0)):
    index = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    index.index([words(t) for t in texts], show_progress=False)
    # bm25s takes only tokens that it knows, and each as often as it is given
    known = set(w for t in texts for w in words(t))
    scores = [
        index.get_scores([w for w in words(q) if w in known]).tolist() if known & set(words(q)) else [0.0] * len(texts)
        for q in queries
    ]
    cases.append({"k1": k1, "b": b, "scores": scores})

# classification
truth = rng.integers(0, 6, 120)
predicted = np.where(rng.random(120) < 0.6, truth, rng.integers(0, 7, 120))
rival = np.where(rng.random(120) < 0.5, truth, rng.integers(0, 6, 120))
f1 = lambda rows: f1_score(truth[rows], predicted[rows], average="macro")
right = (truth == predicted).astype(float)
rival_right = (truth == rival).astype(float)
labels = {
    "truth": truth.tolist(),
    "predicted": predicted.tolist(),
    "rival": rival.tolist(),
    "accuracy": accuracy_score(truth, predicted),
    "f1": f1(np.arange(120)),
    "accuracyInterval": bootstrap(120, lambda r: right[r].mean(), 1000, 0.95, 0),
    "f1Interval": bootstrap(120, f1, 200, 0.9, 3),
    "difference": bootstrap(120, lambda r: (right - rival_right)[r].mean(), 1000, 0.95, 2**33 + 5),
}

values = rng.normal(size=37)
quantiles = {"values": values.tolist(), "at": [0, 0.025, 0.31, 0.5, 0.95, 1]}
quantiles["want"] = np.quantile(values, quantiles["at"]).tolist()

divergences = []
for size, scale in ((6, 1.0), (50, 4.0), (400, 12.0)):
    a, b = rng.normal(size=size) * scale, rng.normal(size=size) * scale
    want = rel_entr(np.exp(log_softmax(a)), np.exp(log_softmax(b))).sum()
    divergences.append({"a": a.tolist(), "b": b.tolist(), "want": want})

out.write_text(
    json.dumps({"bm25": {"texts": texts, "queries": queries, "cases": cases}, "labels": labels, "quantiles": quantiles, "divergences": divergences})
    + "\n"
)
print(out, out.stat().st_size, "bytes")
