"""Writes ../fixtures/rivals.json: losses of unlearning by sequence or token, and their gradients by autograd, by PyTorch in f64.

Usage: python test/oracles/rivals.py   (torch)
"""

import json
import pathlib

import torch
from torch.nn.functional import logsigmoid

out = pathlib.Path(__file__).parent.parent / "fixtures" / "rivals.json"
generator = torch.Generator().manual_seed(27)
leaf = lambda x: x.double().clone().requires_grad_()  # noqa: E731


def drawn(count, low, high):
    return (low + (high - low) * torch.rand(count, generator=generator)).double()


def done(loss, *leaves):
    loss.backward()
    return [loss.item(), *[x.grad.tolist() for x in leaves]]


cases = []
for count, high in ((1, 20), (4, 40), (7, 2000)):
    sums, reference, tokens = leaf(drawn(count, 1, high)), drawn(count, 1, high), torch.randint(1, 30, (count,), generator=generator)
    idk, idk_reference = leaf(drawn(count, 1, high)), drawn(count, 1, high)
    nll = drawn(3 * count, 0, 4)
    case = {"sums": sums.tolist(), "reference": reference.tolist(), "tokens": tokens.tolist(), "idk": idk.tolist(), "idkReference": idk_reference.tolist(), "nll": nll.tolist()}

    def fresh():
        sums.grad = idk.grad = None

    fresh()
    case["gradAscent"] = done(-sums.sum() / tokens.sum(), sums)
    for beta in (0.1, 1.5):
        fresh()
        case[f"npo {beta}"] = done(-(2 / beta) * logsigmoid(beta * (sums - reference)).mean(), sums)
        fresh()
        case[f"idkDpo {beta}"] = done(-(2 / beta) * logsigmoid(beta * ((idk_reference - idk) - (reference - sums))).mean(), sums, idk)
    for beta, delta in ((4.5, 0.0), (2.0, 0.7)):
        fresh()
        case[f"simNpo {beta} {delta}"] = done(-(2 / beta) * logsigmoid(beta * (sums / tokens - delta)).mean(), sums)
    for beta in (1.0, 0.5):
        l = leaf(nll)
        case[f"wga {beta}"] = done(-((-l).exp().detach() ** beta * l).mean(), l)
    for b1, b2 in ((5.0, 1.0), (1.0, 0.5)):
        l = leaf(nll)
        p = (-l).exp().detach()
        case[f"satImp {b1} {b2}"] = done(-(p**b1 * (1 - p) ** b2 * l).mean(), l)
    cases.append(case)
out.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
