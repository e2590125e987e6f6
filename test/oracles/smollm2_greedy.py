"""Greedy text of SmolLM2 for the chat prompt of the reference outputs, every token attended to: writes
test/fixtures/smollm2-greedy.json.

The reference's own continuation of its second prompt came from `generate` without an attention mask. The prompt holds
<|im_end|>, which is this file's padding token too, so transformers took those three tokens for padding, masked them and closed
the gaps in the positions. Its margins, from a plain forward pass, contradict its text at steps 40 and 46.

usage: python test/oracles/smollm2_greedy.py SHARED      (needs torch, transformers, gguf; SHARED: the shared folder)
"""
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

shared = Path(sys.argv[1])
prompts = json.loads((shared / "golden/smollm2.json").read_text())["prompts"]
model = AutoModelForCausalLM.from_pretrained(
    shared / "models/smollm2-135m-instruct", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf", dtype=torch.float32,
    attn_implementation="eager",
).eval()
greedy = []
for prompt in prompts:
    ids = torch.tensor([prompt["ids"]])
    with torch.no_grad():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0
        )
    greedy.append(out[0, ids.shape[1] :].tolist())
    print(prompt["prompt"][:30], greedy[-1] == prompt["greedy"])
Path(__file__).parent.parent.joinpath("fixtures/smollm2-greedy.json").write_text(json.dumps({"greedy": greedy}))
