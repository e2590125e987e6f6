"""One projection grown with PyTorch: the rival of `npm run bench -- projection`.

The same arithmetic: Gram matrix and eigenvectors in f64, slices by two products in f32 (no TF32), normal noise, rounding to bf16. Beside it what a full
decomposition takes (torch.linalg.svd in f32).
Usage: python torch_grow.py [--rows 4096] [--columns 14336] [--experts 8] [--top-k 2] [--device cuda|cpu] [--svd]
Prints one JSON object: seconds of each part, errors, versions.
"""

import argparse
import json
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, default=4096)
parser.add_argument("--columns", type=int, default=14336)
parser.add_argument("--experts", type=int, default=8)
parser.add_argument("--top-k", type=int, default=2)
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
parser.add_argument("--svd", action="store_true")
parser.add_argument("--rounds", type=int, default=2)
args = parser.parse_args()
RHO, DELTA, RATIO = 1e-3, 1e-12, 0.44
torch.backends.cuda.matmul.allow_tf32 = False
torch.manual_seed(0)
device = torch.device(args.device)
rows, columns = args.rows, args.columns


def now():
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


# normal numbers whose rows fall as one over the root of their number
weights = torch.randn(rows, columns) * (torch.arange(rows) + 1.0).pow(-0.5)[:, None]


def grow():
    """The experts on the host in bf16, as a checkpoint has them."""
    times = {}
    at = now()
    w = weights.to(device)
    times["upload"] = now() - at
    at = now()
    side = w if rows <= columns else w.T
    wide = side.double()
    gram = wide @ wide.T
    del wide
    times["gram"] = now() - at
    at = now()
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0), vectors.flip(1)
    times["eigenvectors"] = now() - at
    groups = -(-args.experts // args.top_k)
    norm = values.sum().sqrt()
    made, sums = [], torch.zeros_like(w)
    times["slices"] = times["noise and rounding"] = times["to the host"] = 0.0
    sigma = RATIO * RHO * norm / (rows * columns) ** 0.5
    for block in torch.arange(len(values), device=device).tensor_split(groups):
        at = now()
        u = vectors[:, block].float()
        r = u @ (u.T @ side)
        r = r if rows <= columns else r.T
        times["slices"] += now() - at
        sums += r
        alpha = RHO * norm / (values[block].sum().sqrt() + DELTA)
        for _ in range(min(args.top_k, args.experts - len(made))):
            at = now()
            one = (alpha.float() * r + sigma.float() * torch.randn_like(r)).bfloat16()
            times["noise and rounding"] += now() - at
            at = now()
            made.append(one.cpu())
            times["to the host"] += now() - at
    error = ((sums - w).norm() / w.norm()).item()
    gap = (vectors.T @ vectors - torch.eye(len(values), device=device, dtype=vectors.dtype)).abs().max().item()
    return times, {"sum of slices": error, "orthogonality": gap}


best = None
for _ in range(args.rounds):
    times, errors = grow()
    if best is None or sum(times.values()) < sum(best.values()):
        best = times
answer = {"device": args.device, "seconds": sum(best.values()), "parts": best, "errors": errors}
if args.svd:
    at = now()
    w = weights.to(device)
    torch.linalg.svd(w, full_matrices=False)
    answer["svd"] = now() - at
answer["torch"] = torch.__version__
answer["name"] = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
answer["threads"] = torch.get_num_threads()
print(json.dumps(answer))
