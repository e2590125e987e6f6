"""SPRI's slices (arXiv 2606.16456, eq. 10 to 13) by LAPACK's singular value decomposition in f64, for layers of nano-base.

usage: python test/oracles/spri.py > test/fixtures/spri.json
       python test/oracles/spri.py SMOLLM2.gguf > test/fixtures/spri-smollm2.json
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).parents[2]
RHO, DELTA, GROUPS = 1e-3, 1e-12, 4

if len(sys.argv) > 1:
    import gguf

    tensors = {t.name: t for t in gguf.GGUFReader(sys.argv[1]).tensors}

    def weight(layer, projection):
        tensor = tensors[f'blk.{layer}.ffn_{projection}.weight']
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)

    wanted = [(0, 'down'), (17, 'down'), (29, 'gate')]
else:
    weights = load_file(ROOT / 'models/nano-base/model.safetensors')

    def weight(layer, projection):
        return weights[f'model.layers.{layer}.mlp.{projection}_proj.weight'].to(torch.float64).numpy()

    wanted = [(0, 'down'), (3, 'down'), (7, 'down'), (3, 'gate'), (5, 'up')]

cases = []
for layer, projection in wanted:
    w = weight(layer, projection)
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
