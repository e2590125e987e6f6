"""PyTorch as a rival in training, as a child process: one JSON object a line on stdin, one a line on stdout.

    {"op": "load", "path": FOLDER or FILE.gguf, "threads": 2, "lora": 0 or rank, "rate": 1e-4}
        -> {"ok": true, "version", "parameters", "trained", "baseBytes"}
    {"op": "step", "ids": [[..], ..]}   one step of AdamW on sequences of one length, all tokens but the first as targets -> {"seconds", "loss"}
    {"op": "peak"}                      -> {"bytes": the process's peak resident memory}

As one would write it: transformers' model in f32 with scaled dot product attention, gradients, clipping by the global norm of 1, AdamW, nothing
recomputed. LoRA is peft's, on all linear layers but the output's. The clock runs around the whole step.
"""
import json
import os
import sys
import time

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever libraries print goes to stderr

import torch
import transformers

transformers.logging.set_verbosity_error()


def status(key):
    """A line of /proc/self/status in bytes."""
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return None


class Trainer:
    def __init__(self, path, threads, lora, rate):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.base = status("VmRSS")
        folder, file = (os.path.dirname(path), os.path.basename(path)) if path.endswith(".gguf") else (path, None)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
        if lora:
            import peft

            config = peft.LoraConfig(r=lora, lora_alpha=2 * lora, target_modules="all-linear", lora_dropout=0.0)
            self.model = peft.get_peft_model(self.model, config)
        self.model.train()
        self.model.config.use_cache = False
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, lr=rate, weight_decay=0.0)

    def step(self, ids):
        batch = torch.tensor(ids)
        start = time.perf_counter()
        result = self.model(input_ids=batch, labels=batch)
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {"seconds": time.perf_counter() - start, "loss": float(result.loss.detach())}


trainer = None
for line in sys.stdin:
    request = json.loads(line)
    try:
        match request["op"]:
            case "load":
                trainer = Trainer(request["path"], request["threads"], request["lora"], request["rate"])
                reply = {
                    "ok": True,
                    "version": f"torch {torch.__version__}, transformers {transformers.__version__}",
                    "parameters": sum(p.numel() for p in trainer.model.parameters()),
                    "trained": sum(p.numel() for p in trainer.trained),
                    "baseBytes": trainer.base,
                }
            case "step":
                reply = trainer.step(request["ids"])
            case "peak":
                reply = {"bytes": status("VmHWM")}
            case _:
                reply = {"error": f"unknown operation {request['op']}"}
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    out.write(json.dumps(reply) + "\n")
    out.flush()
