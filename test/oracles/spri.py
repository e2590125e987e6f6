"""SPRI's slices (arXiv 2606.16456, eq. 10 to 13) by LAPACK's singular value decomposition in f64, for layers of nano-base.

usage: python test/oracles/spri.py > test/fixtures/spri.json
"""
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).parents[2]
RHO, DELTA, GROUPS = 1e-3, 1e-12, 4

weights = load_file(ROOT / 'models/nano-base/model.safetensors')
cases = []
for layer, projection in [(0, 'down'), (3, 'down'), (7, 'down'), (3, 'gate'), (5, 'up')]:
    w = weights[f'model.layers.{layer}.mlp.{projection}_proj.weight'].to(torch.float64).numpy()
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    norm = np.linalg.norm(w)
    slices = []
    for block in np.array_split(np.arange(len(s)), GROUPS):
        r = (u[:, block] * s[block]) @ vt[block]
        e = np.linalg.norm(r)
        rows, columns = r.shape
        at = [(37 * i % rows, 101 * i % columns) for i in range(24)]
        # sums that every entry enters, with weights that tell rows and columns apart
        x, y = np.cos(np.arange(rows)), np.sin(np.arange(columns))
        slices.append({
            'alpha': RHO * norm / (e + DELTA),
            'energy': (e / norm) ** 2,
            'norm': e,
            'entries': [r[i, j] for i, j in at],
            'checksum': x @ r @ y,
        })
    cases.append({
        'layer': layer, 'projection': projection, 'norm': norm, 's': list(s), 'slices': slices,
        'gaps': [(s[b] - s[b + 1]) / s[0] for b in np.cumsum([len(k) for k in np.array_split(np.arange(len(s)), GROUPS)])[:-1] - 1],
    })
print(json.dumps({'rho': RHO, 'delta': DELTA, 'groups': GROUPS, 'cases': cases}))
