"""Writes ../fixtures/sampling.json: filtered distributions from Hugging Face's logits processors.

Usage: python test/oracles/sampling.py   (needs `transformers` and `torch`)
"""

import json
import pathlib

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

out = pathlib.Path(__file__).parent.parent / "fixtures" / "sampling.json"
torch.manual_seed(5)

OPTIONS = [
    {"temperature": 1.0},
    {"temperature": 0.7},
    {"temperature": 1.5},
    {"temperature": 1.0, "topK": 1},
    {"temperature": 0.8, "topK": 5},
    {"temperature": 1.0, "topK": 1000},
    {"temperature": 1.0, "topP": 0.9},
    {"temperature": 0.6, "topP": 0.95},
    {"temperature": 1.0, "topP": 0.01},
    {"temperature": 1.0, "minP": 0.1},
    {"temperature": 1.3, "minP": 0.05},
    {"temperature": 0.9, "topK": 10, "topP": 0.8},
    {"temperature": 0.9, "topK": 20, "topP": 0.9, "minP": 0.1},
    {"temperature": 1.0, "topP": 0.9, "minP": 0.3},
    {"temperature": 1.0, "repetitionPenalty": 1.3},
    {"temperature": 0.8, "topK": 6, "repetitionPenalty": 1.2},
    {"temperature": 0.8, "topP": 0.7, "repetitionPenalty": 0.8},
    {"temperature": 0.7, "topK": 12, "topP": 0.95, "minP": 0.02, "repetitionPenalty": 1.1},
]

rows = []
for size, scale in ((64, 2.0), (64, 0.5), (200, 4.0)):
    logits = (torch.randn(size) * scale).float()
    # what was said before tends to be likely: let the penalty bite
    seen = torch.topk(logits, 4).indices.tolist() + torch.randint(0, size, (6,)).tolist()
    cases = []
    for o in OPTIONS:
        # the order in which transformers' generate() builds its list
        processors = LogitsProcessorList()
        if "repetitionPenalty" in o:
            processors.append(RepetitionPenaltyLogitsProcessor(o["repetitionPenalty"]))
        if o["temperature"] != 1.0:
            processors.append(TemperatureLogitsWarper(o["temperature"]))
        if "topK" in o:
            processors.append(TopKLogitsWarper(o["topK"]))
        if "topP" in o:
            processors.append(TopPLogitsWarper(o["topP"]))
        if "minP" in o:
            processors.append(MinPLogitsWarper(o["minP"]))
        p = torch.softmax(processors(torch.tensor([seen]), logits[None].clone())[0].double(), -1)
        kept = torch.nonzero(p > 0).flatten().tolist()
        cases.append({"options": o, "ids": kept, "probabilities": [round(p[i].item(), 9) for i in kept]})
    rows.append({"logits": logits.tolist(), "seen": seen, "cases": cases})

out.write_text(json.dumps({"rows": rows}) + "\n")
print(out, out.stat().st_size, "bytes")
