"""Loads grown models with stock classes of Hugging Face transformers, and writes ../fixtures/grown.json.

Each job is run by the command line of the build (`npm run build` first) into a temporary folder; then transformers loads source and result,
nothing missing or left over, and computes logits of a text in f32. The fixture keeps the sha256 of the weights, which are the same
in every runtime, and some of the logits, so that the tests hold ours against transformers' without Python.

Usage: python test/oracles/grown.py [SMOLLM2.gguf]   (torch transformers safetensors; with a GGUF also gguf)
With SmolLM2's file it also prints how the grown model's logits and greedy text compare with the source's; nothing of that is kept.
"""

import base64
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(2)
ROOT = pathlib.Path(__file__).parent.parent.parent
OUT = ROOT / "test" / "fixtures" / "grown.json"
NANO = "models/nano-base"
QWEN2, QWEN3 = "test/fixtures/tiny/qwen2", "test/fixtures/tiny/qwen3"
POSITIONS, ENTRIES = 24, 64

# name: (source, options as the library takes them)
JOBS = {
    "granitemoeshared": (NANO, {"target": "granitemoeshared"}),
    "granitemoeshared, qwen2": (QWEN2, {"target": "granitemoeshared", "experts": 4}),
    "mixtral": (NANO, {"target": "mixtral", "anchor": "folded", "dtype": "f32"}),
    "mixtral, bf16": (NANO, {"target": "mixtral", "anchor": "folded", "rho": 0.01, "dtype": "bf16"}),
    "qwen2_moe": (QWEN2, {"target": "qwen2_moe", "experts": 4}),
    "qwen2_moe, llama, every second": (NANO, {"target": "qwen2_moe", "layers": {"interval": 2}}),
    "qwen2_moe, gguf": (NANO, {"target": "qwen2_moe", "gguf": True}),
    "qwen3_moe": (QWEN3, {"target": "qwen3_moe", "anchor": "folded", "experts": 4}),
    "qwen3_moe, last layer": (QWEN3, {"target": "qwen3_moe", "anchor": "folded", "layers": [1], "experts": 4}),
}


def flags(options):
    for name, value in options.items():
        if name == "layers":
            value = value["interval"] if isinstance(value, dict) else ",".join(map(str, value)) + ","
        yield f"--{name}"
        if value is not True:
            yield str(value)


def load(path):
    model, info = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    left = {key: list(value) for key, value in info.items() if value and key != "conversion_errors"}
    assert not left, f"{path}: {left}"
    return model.eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double()


def kl(p, q):
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def sha256(folder):
    digests = {}
    for path in sorted(folder.glob("*.safetensors")):
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def grow(source, out, options):
    command = ["node", "dist/src/cli/main.js", "grow", source, "--out", str(out), "--json", *flags(options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def main():
    fixture = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, (source, options)) in enumerate(JOBS.items()):
            out = pathlib.Path(temporary) / str(number)
            receipt = grow(source, out, options)
            dense, grown = load(ROOT / source), load(out)
            vocab = dense.config.vocab_size
            ids = [(7 + 37 * i + i * i) % vocab for i in range(POSITIONS)]
            want, got = logits_of(dense, ids), logits_of(grown, ids)
            entries = sorted({round(i * (vocab - 1) / (ENTRIES - 1)) for i in range(ENTRIES)})
            away = ((got - want).abs().max() / want.abs().max()).item()
            divergence = kl(want, got)
            print(
                f"{name}: {type(grown).__name__}, logits within {away:.2e} of the largest, "
                f"mean KL {divergence.mean():.2e}, receipt says {receipt['deviation']['meanKl']:.2e}"
            )
            assert math.isfinite(away) and away < 5e-2
            fixture[name] = {
                "source": source,
                "options": options,
                "sha256": sha256(out),
                "ids": ids,
                "entries": entries,
                "largest": got.abs().max().item(),
                "logits": encode(got[:, entries].numpy()),
            }
    OUT.write_text(json.dumps(fixture, indent=1) + "\n")
    print(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size} bytes")


def smollm2(path):
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary) / "grown"
        print(grow(path, out, {"target": "granitemoeshared"})["deviation"]["statement"])
        file = pathlib.Path(path)
        dense = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
        grown, tokenizer = load(out), AutoTokenizer.from_pretrained(out)
        for prompt in ("The capital of France is", "Once upon a time", "def fibonacci(n):"):
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            texts = [m.generate(ids, max_new_tokens=48, do_sample=False)[0].tolist() for m in (dense, grown)]
            divergence = kl(logits_of(dense, texts[0]), logits_of(grown, texts[0]))
            print(f"{prompt!r}: greedy text {'equal' if texts[0] == texts[1] else 'DIFFERS'}, KL {divergence.mean():.2e}")


main()
if len(sys.argv) > 1:
    smollm2(sys.argv[1])
