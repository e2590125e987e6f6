"""Writes ../fixtures/blocks/*: stored blocks of every type and the values that the `gguf` package reads from them.

For each type T: T.bin (the blocks) and T.f32 (little-endian floats). Blocks are random bytes with finite scales of every
size, subnormal ones and both zeros among them, so every bit of every field counts.

quantised-T.bin: what `gguf` rounds quantised.f32 to.

Usage: python test/oracles/blocks.py   (needs `gguf` and `numpy`)
"""

import pathlib

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

out = pathlib.Path(__file__).parent.parent / "fixtures" / "blocks"
out.mkdir(exist_ok=True)
rng = np.random.default_rng(7)

# where the f16 scales stand in a block
SCALES = {
    T.Q4_0: [0],
    T.Q4_1: [0, 2],
    T.Q5_0: [0],
    T.Q5_1: [0, 2],
    T.Q8_0: [0],
    T.Q4_K: [0, 2],
    T.Q5_K: [0, 2],
    T.Q6_K: [208],
}


def scales(n):
    """f16 of every magnitude that keeps all values finite in f32 and the repacked scale in f16."""
    s = (rng.choice([-1, 1], n) * 2.0 ** rng.uniform(-20, -1, n)).astype(np.float16)
    s[: min(n, 4)] = [0.0, -0.0, 2**-24, -(2**-15)][: min(n, 4)]
    return s


for kind, at in SCALES.items():
    block, size = GGML_QUANT_SIZES[kind]
    n = 32 if block == 32 else 12
    data = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for offset in at:
        data[:, offset : offset + 2] = rng.permutation(scales(n)).view(np.uint8).reshape(n, 2)
    name = kind.name.lower()
    (out / f"{name}.bin").write_bytes(data.tobytes())
    (out / f"{name}.f32").write_bytes(dequantize(data, kind).astype("<f4").tobytes())

half = rng.integers(0, 65536, 2048, dtype=np.uint16)
half = half[(half & 0x7C00) != 0x7C00]
half[:2] = [0x8000, 0x0001]
(out / "f16.bin").write_bytes(half.tobytes())
(out / "f16.f32").write_bytes(dequantize(half.view(np.uint8), T.F16).astype("<f4").tobytes())
brain = rng.integers(0, 65536, 2048, dtype=np.uint16)
brain = brain[(brain & 0x7F80) != 0x7F80]
brain = brain[: len(brain) // 32 * 32]
(out / "bf16.bin").write_bytes(brain.tobytes())
(out / "bf16.f32").write_bytes(dequantize(brain.view(np.uint8), T.BF16).astype("<f4").tobytes())
# blocks of every size; zeros, halves between two codes, equal magnitudes of both signs, subnormal scales
values = (rng.standard_normal((256, 32)) * 2.0 ** rng.uniform(-20, 4, (256, 1))).astype(np.float32)
values[0] = 0
values[1] = np.arange(32) - 16
values[2] = np.where(np.arange(32) % 2, 1, -1)
values[3] = np.where(np.arange(32) % 2, -1, 1)
values[4:8] = (rng.integers(-254, 255, (4, 32)) / 2).astype(np.float32)
values[4:8, 0] = 127
values[8:12] = (rng.integers(-16, 17, (4, 32)) / 2).astype(np.float32)
values[8:12, 0] = [8, -8, 8, -8]
values[12:16] *= np.float32(2.0**-12)
values[16, 1:] = 0
values[17] = -0.0
(out / "quantised.f32").write_bytes(values.astype("<f4").tobytes())
for kind in [T.Q8_0, T.Q4_0]:
    (out / f"quantised-{kind.name.lower()}.bin").write_bytes(quantize(values, kind).tobytes())
print(sum(f.stat().st_size for f in out.iterdir()), "bytes")
