"""SPRI as one would write it with NumPy: the rival of `npm run bench -- grow`.

The same arithmetic (Gram matrix and eigenvectors in f64, projections in f32, Philox noise, rounding to bf16) and the same tensors written.
Usage: python numpy_grow.py MODEL.gguf|FOLDER OUT.safetensors [--experts 8] [--top-k 2] [--threads 2]
Prints one JSON object: seconds, bytes, peak_rss.
"""

import argparse
import json
import os
import resource
import struct
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("out")
parser.add_argument("--experts", type=int, default=8)
parser.add_argument("--top-k", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(args.threads)

import numpy as np  # noqa: E402

RHO, DELTA, RATIO = 1e-3, 1e-12, 0.44


def bf16(x):
    """f32 -> bf16 bits, to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def read_gguf(path):
    import gguf

    inner = {
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    outer = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    reader = gguf.GGUFReader(path)
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            name = f"model.layers.{parts[1]}.{inner[parts[2]]}.weight"
        else:
            name = f"{outer[parts[0]]}.weight"
        # q and k stay in llama.cpp's order here: reordering rows is no arithmetic
        yield name, lambda t=tensor: gguf.quants.dequantize(t.data, t.tensor_type)


def read_folder(path):
    # NumPy knows no bf16, so the bits are widened by hand
    with open(os.path.join(path, "model.safetensors"), "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    data = np.memmap(os.path.join(path, "model.safetensors"), np.uint8, "r", 8 + size)
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        kind = np.uint16 if info["dtype"] == "BF16" else np.float32

        def load(begin=begin, end=end, kind=kind, shape=info["shape"]):
            values = data[begin:end].view(kind).reshape(shape)
            return (values.astype(np.uint32) << 16).view(np.float32) if kind is np.uint16 else values

        yield name, load


started = time.perf_counter()
source = dict(read_gguf(args.model) if args.model.endswith(".gguf") else read_folder(args.model))
layers = 1 + max(int(name.split(".")[2]) for name in source if ".layers." in name)
experts, k = args.experts, args.top_k
groups = -(-experts // k)
tensors = []  # name, shape
written = 0
partial = args.out + ".data"
with open(partial, "wb") as out:

    def write(name, shape, *parts):
        global written
        tensors.append((name, shape, written))
        for part in parts:
            out.write(part.data)
            written += part.nbytes

    for name, load in source.items():
        if ".mlp." not in name:
            values = load()
            write(name, values.shape, bf16(values))
    for layer in range(layers):
        at = f"model.layers.{layer}"
        gate, up, down = (source[f"{at}.mlp.{p}_proj.weight"]() for p in ("gate", "up", "down"))
        d, m = down.shape
        gate16, up16 = bf16(gate), bf16(up)
        wide = down.astype(np.float64)
        lam, vectors = np.linalg.eigh(wide @ wide.T)
        lam, vectors = lam[::-1], vectors[:, ::-1]
        norm = np.sqrt(lam.sum())
        blocks = np.array_split(np.arange(d), groups)
        write(f"{at}.block_sparse_moe.input_linear.weight", (experts, 2 * m, d), *[gate16, up16] * experts)
        rng = np.random.Generator(np.random.Philox(key=layer))
        sigma = np.float32(RATIO * RHO * norm / np.sqrt(d * m))
        made = []
        for block in blocks:
            u = np.ascontiguousarray(vectors[:, block], np.float32)
            alpha = np.float32(RHO * norm / (np.sqrt(lam[block].sum()) + DELTA))
            r = alpha * (u @ (u.T @ down))
            for _ in range(min(k, experts - len(made))):
                made.append(bf16(r + sigma * rng.standard_normal((d, m), np.float32)))
        write(f"{at}.block_sparse_moe.output_linear.weight", (experts, d, m), *made)
        router = np.float32(0.02) * rng.standard_normal((experts, d), np.float32)
        write(f"{at}.block_sparse_moe.router.layer.weight", (experts, d), bf16(router))
        write(f"{at}.shared_mlp.input_linear.weight", (2 * m, d), gate16, up16)
        write(f"{at}.shared_mlp.output_linear.weight", (d, m), bf16(down))

header = {
    name: {"dtype": "BF16", "shape": list(map(int, shape)), "data_offsets": [at, at + 2 * int(np.prod(shape))]}
    for name, shape, at in tensors
}
# the header goes into a file of its own: its length is only known now, and moving the data would be unfair
text = json.dumps(header).encode()
with open(args.out + ".header", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "bytes": written, "peak_rss": peak, "numpy": np.__version__}))
