"""Writes ../fixtures/dbsa.json: dynamic block-sparse attention (arXiv 2503.08640) by transformers, under a dense mask over the whole text.

Blocks of texts are read in one pass at positions 0, 1, ...: a token of block b sees, of what stands before it, the prefix, block 0, blocks
b - 2 and b - 1, and its own. What each layer's RoPE is given is taken down: keys before rotation. For a query, the keys of the chosen blocks are
rotated to consecutive positions behind the prefix, and the query is read behind them. f32, eager attention, weights as stored.
By model: prefix, blocks and query as ids; chosen; keys and values of the last block's first rows, [layer, row, heads * headDim]; logits of the
query, the last `tail` rows and every `step`-th token, [row, V / step].

Usage: python test/oracles/dbsa.py   (needs `torch`, `transformers` and `numpy`)
"""

import importlib
import json
import pathlib

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

torch.set_num_threads(1)
here = pathlib.Path(__file__).parent
root = here.parent.parent
out = here.parent / "fixtures" / "dbsa.json"

LETTERS = "Ġabcdefghijklmnopqrstuvwxyz.,:;"
letters = lambda text: [LETTERS.index(c) + 1 if c != " " else 1 for c in text]
TINY = {
    "prefix": "wx.",
    "blocks": [["abc. de", "fgh,"], ["ij", "klm"], ["nopq. rs"], ["tu", "v:a", "w"], ["xyz, ab", "cd"], ["efg. hi;", "jk"]],
    "query": "ab: cd",
    "chosen": [0, 2, 5],
}
WORDS = "red blue seven nine horse eagle whale three fox river twelve stone".split()
rng = np.random.default_rng(5)
shot = lambda: f"Question: {' '.join(rng.choice(WORDS, rng.integers(3, 9)))} ?\nType: {rng.choice(['animal', 'number'])}\n==\n"
NANO = {
    "prefix": "Sort these.\n",
    # more than 512 tokens, so that a block is read in two pieces: the fifth
    "blocks": [[shot() for _ in range(6)] for _ in range(7)],
    "query": "Question: seven horse nine ?\nType:",
    "chosen": [0, 2, 4, 6],
}


def oracle(name, path, task, encode, bos, modelling):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    module = importlib.import_module(f"transformers.models.{modelling}.modeling_{modelling}")
    rotate = module.apply_rotary_pos_emb
    prefix = bos + encode(task["prefix"])
    blocks = [[encode(text) for text in texts] for texts in task["blocks"]]
    query = encode(task["query"])
    flat = [sum(ids, []) for ids in blocks]
    block = np.array([-1] * len(prefix) + [b for b, ids in enumerate(flat) for _ in ids])
    q, k = block[:, None], block[None, :]
    causal = np.tril(np.ones((len(block), len(block)), bool))
    sees = causal & ((k < 0) | (k == 0) | (k == q) | (k == q - 1) | (k == q - 2))
    additive = lambda m: torch.where(torch.from_numpy(m), 0.0, torch.finfo(torch.float32).min)[None, None]

    keys = []

    def taking(q, k, cos, sin, *more, **named):
        keys.append(k.clone())
        return rotate(q, k, cos, sin, *more, **named)

    module.apply_rotary_pos_emb = taking
    with torch.no_grad():
        first = model(torch.tensor([prefix + sum(flat, [])]), attention_mask=additive(sees), use_cache=True)
    module.apply_rotary_pos_emb = rotate
    layers = model.config.num_hidden_layers
    assert len(keys) == layers
    values = [first.past_key_values.layers[i].values for i in range(layers)]

    rows = [i for i, b in enumerate(block) if b < 0 or b in task["chosen"]]
    positions = torch.arange(len(rows))[None]
    cache = DynamicCache()
    with torch.no_grad():
        cos, sin = model.model.rotary_emb(values[0], positions)
        for i in range(layers):
            rotated, _ = rotate(keys[i][:, :, rows], keys[i][:, :, rows], cos, sin)
            cache.update(rotated, values[i][:, :, rows], i)
        at = torch.arange(len(rows), len(rows) + len(query))[None]
        seen = np.concatenate([np.ones((len(query), len(rows)), bool), np.tril(np.ones((len(query), len(query)), bool))], 1)
        logits = model(torch.tensor([query]), past_key_values=cache, position_ids=at, attention_mask=additive(seen)).logits[0]

    if name == "nano-base":
        assert block[512 + len(prefix) - 1] == block[512 + len(prefix)] == 4
    last = np.flatnonzero(block == block.max())
    flatten = lambda t: t[0].transpose(0, 1).reshape(t.shape[2], -1)[last].numpy()
    # the larger model's are many: its first row, and every 8th of the last token's logits
    tiny = name != "nano-base"
    some = slice(None) if tiny else slice(0, 1)
    tail, step = (len(query), 1) if tiny else (1, 8)
    listed = lambda a: [float(f"{x:.8g}") for x in np.asarray(a, np.float32).ravel()]
    return {
        "model": name, "texts": task, "ids": {"prefix": prefix, "blocks": blocks, "query": query}, "chosen": task["chosen"],
        "keys": [listed(flatten(t)[some]) for t in keys], "values": [listed(flatten(t)[some]) for t in values],
        "tail": tail, "step": step, "logits": listed(logits[-tail:, ::step].numpy()),
    }  # fmt: skip


cases = [
    oracle(name, here.parent / "fixtures" / "tiny" / name, TINY, letters, [0], modelling)
    for name, modelling in (("llama-gqa", "llama"), ("llama-yarn", "llama"), ("qwen3", "qwen3"))
]
tokenizer = AutoTokenizer.from_pretrained(root / "models" / "nano-base")
encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
cases.append(oracle("nano-base", root / "models" / "nano-base", NANO, encode, [tokenizer.bos_token_id], "llama"))
out.write_text(json.dumps({"cases": cases}) + "\n")
print(out, out.stat().st_size, "bytes", [len(sum(sum(c["ids"]["blocks"], []), [])) for c in cases])
