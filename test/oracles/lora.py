"""Writes ../fixtures/lora/<name>/: random LoRA adapters as peft writes them, and what peft computes with them.

adapter_config.json, adapter_model.safetensors, and reference.safetensors: ids [T] i32, logits [T, V] f32, in f32 with eager attention, of the base
in ../fixtures/tiny/<base> (base.txt says which). `two` has a second adapter, in two-second, and logits of 1 times the first and -0.5 times the second.

Usage: python test/oracles/lora.py [NAME …]     (peft torch transformers safetensors gguf)
       python test/oracles/lora.py --check ADAPTER BASE LOGITS
           loads a folder that Espalier wrote into peft, over the folder of its base, and prints how far its logits are from those in LOGITS, a
           safetensors file with ids and logits; test/model/written-adapters.ts writes both
"""

import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent
TINY = HERE.parent / "fixtures" / "tiny"
OUT = HERE.parent / "fixtures" / "lora"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
DENSE = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]

# name: (base, T, dtype of the factors, configuration)
ADAPTERS = {
    "llama": ("llama-gqa", 16, torch.float32, {"r": 4, "lora_alpha": 8, "target_modules": DENSE}),
    "llama-patterns": (
        "llama-bias", 16, torch.float32,
        {"r": 4, "lora_alpha": 6, "use_rslora": True, "target_modules": DENSE,
         "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7, r"layers\.0\..*\.(k|v)_proj": 1},
         "alpha_pattern": {"down_proj": 3, "^model.layers.1.self_attn.o_proj": 20}}),
    "llama-regex": (
        "llama-bf16", 16, torch.bfloat16,
        {"r": 3, "lora_alpha": 3, "target_modules": r".*layers\.[01]\.(self_attn\.[qv]_proj|mlp\.(?:up|down)_proj)",
         "exclude_modules": r".*\.1\.self_attn\.v_proj"}),
    "qwen2-all": ("qwen2", 16, torch.float16, {"r": 5, "lora_alpha": 16, "target_modules": "all-linear"}),
    "qwen3": ("qwen3", 16, torch.float32, {"r": 8, "lora_alpha": 16, "target_modules": ATTENTION}),
    "mistral": ("mistral-window", 24, torch.bfloat16, {"r": 4, "lora_alpha": 8, "target_modules": DENSE}),
    "smollm3-layers": (
        "smollm3", 24, torch.float32,
        {"r": 4, "lora_alpha": 8, "target_modules": DENSE, "layers_to_transform": [1, 3], "layers_pattern": "layers"}),
    "gemma3": ("gemma3", 40, torch.float32, {"r": 4, "lora_alpha": 8, "target_modules": DENSE}),
    "qwen2-moe": (
        "moe-qwen2", 16, torch.float32,
        {"r": 4, "lora_alpha": 8, "target_modules": [*ATTENTION, "shared_expert.gate_proj", "shared_expert.up_proj", "shared_expert.down_proj"]}),
    "granite": (
        "moe-granite", 16, torch.float32,
        {"r": 4, "lora_alpha": 8, "target_modules": [*ATTENTION, "shared_mlp.input_linear", "shared_mlp.output_linear"]}),
    "gguf-f16": ("gguf-llama-f16", 16, torch.float32, {"r": 4, "lora_alpha": 8, "target_modules": DENSE}),
    "gguf-q4_0": ("gguf-llama-q4_0", 16, torch.float32, {"r": 4, "lora_alpha": 8, "target_modules": DENSE}),
    "two": ("llama-gqa", 16, torch.float32, {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}),
}  # fmt: skip
SECOND = {"r": 2, "lora_alpha": 6, "target_modules": ["v_proj", "o_proj", "gate_proj"]}


def base_model(folder):
    gguf = {"gguf_file": "model.gguf"} if (folder / "model.gguf").exists() else {}
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **gguf
    ).eval()


def randomise(model, dtype, seed, adapter="default"):
    """Both factors random, of the stored type: B of a new adapter is zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if "lora_" not in name or f".{adapter}." not in name:
            continue
        spread = 1 / p.shape[1] ** 0.5 if "lora_A" in name else 0.15
        p.data = (torch.randn(p.shape, generator=generator) * spread).to(dtype).float()


def write(folder, model, dtype, adapter="default"):
    """As save_pretrained does, with factors in the wanted type, and the base by its name alone."""
    scratch = OUT / "scratch"
    model.save_pretrained(scratch, selected_adapters=[adapter])
    source = scratch if adapter == "default" else scratch / adapter
    folder.mkdir(parents=True, exist_ok=True)
    factors = {k: v.to(dtype) for k, v in load_file(source / "adapter_model.safetensors").items()}
    save_file(factors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = pathlib.Path(config["base_model_name_or_path"]).name
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(scratch)


def config_of(options):
    return LoraConfig(task_type="CAUSAL_LM", **options)


@torch.no_grad()
def make(name, base, count, dtype, options, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    plain = base_model(TINY / base)
    ids = torch.randint(1, plain.config.vocab_size, (1, count), generator=torch.Generator().manual_seed(seed))
    before = plain(ids).logits[0]
    model = get_peft_model(plain, config_of(options))
    randomise(model, dtype, seed)
    write(folder, model, dtype)
    if name == "two":
        model.add_adapter("second", config_of(SECOND))
        randomise(model, dtype, seed + 1, "second")
        write(OUT / f"{name}-second", model, dtype, "second")
        for key, p in model.named_parameters():
            if "lora_B.second." in key:
                p.data *= -0.5
        model.base_model.set_adapter(["default", "second"])
        logits = model.eval()(ids).logits[0]
    else:
        # read back: the folder is what the reference stands for
        logits = PeftModel.from_pretrained(base_model(TINY / base), folder).eval()(ids).logits[0]
    save_file({"ids": ids[0].to(torch.int32), "logits": logits.contiguous()}, folder / "reference.safetensors")
    (folder / "base.txt").write_text(base + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    moved = (logits - before).abs().max().item()
    print(f"{name:16s} {size / 1000:6.1f} kB   logits: max {logits.abs().max().item():.2f}, moved by {moved:.2f}")


@torch.no_grad()
def check(adapter, base, logits):
    model = PeftModel.from_pretrained(base_model(pathlib.Path(base)), adapter).eval()
    found = load_file(logits)
    got = model(found["ids"].long()[None]).logits[0]
    worst = (got - found["logits"]).abs().max().item()
    missing = [n for n, p in model.named_parameters() if "lora_B" in n and p.abs().max() == 0]
    print(f"worst {worst:.2e} of {got.abs().max().item():.2f}; factors that stayed zero: {len(missing)}")
    return worst <= 1e-4 * max(1, got.abs().max().item()) and not missing


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        sys.exit(0 if check(*sys.argv[2:5]) else 1)
    for seed, (name, (base, count, dtype, options)) in enumerate(ADAPTERS.items()):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make(name, base, count, dtype, options, 100 + seed)
