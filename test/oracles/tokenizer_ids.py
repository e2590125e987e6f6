"""Writes ../fixtures/tokenizers.json: what Hugging Face `tokenizers` makes of a set of awkward texts.

Usage: python test/oracles/tokenizers.py SHARED   (the folder with models/; needs `tokenizers` and `gguf`)

Each case names a base vocabulary and a patch of its tokenizer.json, so that no vocabulary is stored here: the test reads
the same base, applies the same patch and must get the same ids.
"""

import gzip
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer

shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parent.parent / "fixtures" / "tokenizers.json"

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world!",
    " leading and trailing ",
    "two  spaces   three    four",
    "line\nline\n\nline\r\nline\ttab\t\ttabs \n \n x",
    "trailing newlines\n\n\n",
    "   \n   indented\n      more",
    "I'm sure they'll say it's what we'd've done; DON'T, it'S",
    "Prices: $3.50, 1,000,000 and 12345678901 (2026-11-24, 10:20).",
    "x = [i**2 for i in range(10)]  # squares\nif x != None:\n\treturn {'a': x[0]}",
    "for (let i = 0; i < n; ++i) { a[i] += b[i] ?? 0; } // sum\n",
    "<html lang=\"en\"><p class='q'>&amp;</p></html>",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Ærøskøbing, Þórr, İstanbul, straße.",
    "Съешь же ещё этих мягких булок. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "我能吞下玻璃而不伤身体。私はガラスを食べられます。나는 유리를 먹을 수 있어요.",
    "أستطيع أكل الزجاج. אני יכול לאכול זכוכית. मैं काँच खा सकता हूँ। ฉันกินกระจกได้ ខ្ញុំ",
    "digits: ٣٤٥ १२३ ４５６ ²³ ½ Ⅻ ①②",
    "emoji: 😀😃 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 👍🏽 ❤️ ☃",
    "combining: e\u0301 a\u0308 n\u0303 \u1100\u1161\u11a8 and composed é ä ñ 각",
    "odd spaces: a\u00a0b\u2003c\u3000d\u2028e\u0085f\ufeffg\u200bh\u180ei",
    "\ufeffstarts with a byte order mark",
    "punct!!! ??? ... --- ___ ~~~ ^^^ ||| +++ === <=> \u00a1\u00bf \u2014 \u201cquoted\u201d \u00ab\u00bb",
    "math: \u2200x\u2208\u211d, x\u00b2 \u2265 0 \u2227 \u221a2 \u2248 1.41421 \U0001d44e\U0001d44f",
    "control: \x00\x01\x1b[0m\x7f end",
    "<|endoftext|>text<|im_start|> <|im_end|>\n<s>x</s><unk><0x0A>",
    "<|endoftext|><|endoftext|>",
    "camelCaseWord HTTPServer snake_case_word kebab-case-word C3PO r2d2 __proto__ constructor toString",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "http://example.org/a/b?c=d&e=%20#frag me@example.org",
    "\u2581already \u2581\u2581marked \u2581",
    "lone \U0010ffff and \ue000 private",
    "spaces  <|endoftext|>  around <|im_start|>  added \n <|endoftext|> \t <|endoftext|>\ntokens",
    "the thing is singing, and it's the best! \u2603\u2603 caf\u00e9 \u2603",
]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def byte_level(use_regex, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}


def added(id, content, **flags):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **flags}
    return {"id": id, "content": content, **flags}


def meta_patch(scheme, split):
    m = metaspace(scheme, split)
    return {"normalizer": None, "pre_tokenizer": m, "decoder": m}


# name -> (base, patch of tokenizer.json, name of the same thing in tokenizer.ggml.pre or None)
CASES = {
    "gpt2": ("gpt2", {}, "gpt-2"),
    "qwen3": ("qwen3", {}, None),
    "smollm2": ("smollm2", {}, "smollm"),
    "nano-base": ("nano-base", {}, None),
    "stories260K": ("stories260K", {}, None),
    "babyllama": ("babyllama-tok361-1M", {}, None),
    "gpt2 with llama-bpe": (
        "gpt2",
        {"pre_tokenizer": sequence(split(LLAMA3), byte_level(False)), "model": {"ignore_merges": True}},
        "llama-bpe",
    ),
    "gpt2 with qwen2": (
        "gpt2",
        {"pre_tokenizer": sequence(split(QWEN2), byte_level(False)), "normalizer": {"type": "NFC"}},
        "qwen2",
    ),
    "gpt2 with tekken": (
        "gpt2",
        {"pre_tokenizer": sequence(split(TEKKEN), byte_level(False)), "model": {"ignore_merges": True}},
        "tekken",
    ),
    "gpt2 with smollm": (
        "gpt2",
        {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level(True))},
        "smollm",
    ),
    "gpt2 with default": (
        "gpt2",
        {
            "pre_tokenizer": sequence(
                split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split(r"[0-9][0-9][0-9]"), byte_level(False)
            )
        },
        "default",
    ),
    "gpt2 with prefix space": ("gpt2", {"pre_tokenizer": byte_level(True, True)}, None),
    "gpt2 with digit runs": (
        "gpt2",
        {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, byte_level(True))},
        None,
    ),
    "gpt2 with punctuation": (
        "gpt2",
        {"pre_tokenizer": sequence({"type": "Punctuation", "behavior": "Isolated"}, byte_level(True))},
        None,
    ),
    "gpt2 with punctuation runs": (
        "gpt2",
        {"pre_tokenizer": sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True))},
        None,
    ),
    "gpt2 with greedy added tokens": (
        "gpt2",
        {
            "added_tokens": [
                added(50256, "<|endoftext|>", lstrip=True, rstrip=True, special=True),
                added(50257, "<|im_start|>", rstrip=True, special=False),
                added(50258, "<|im_start|> <", special=False, normalized=True),
                added(50259, " squares", special=False),
            ]
        },
        None,
    ),
    "stories260K as unigram": (
        "stories260K",
        {
            **meta_patch("always", True),
            "added_tokens": [added(0, "<unk>", special=True)],
            "post_processor": None,
            "model": {
                "type": "Unigram",
                "unk_id": 0,
                "byte_fallback": False,
                "vocab": [["<unk>", 0.0]]
                + [[c, -5.0 - i / 7] for i, c in enumerate("\u2581eatoinshrdlucmfwygpbvk.,'!?\u00e9\u00fc")]
                + [[p, -6.0 - i / 5] for i, p in enumerate(["\u2581the", "ing", "\u2581a", "er", "ess", "and", "\u2581s", "it"])],
            },
        },
        None,
    ),
    "gpt2 with whitespace": ("gpt2", {"pre_tokenizer": sequence({"type": "Whitespace"}, byte_level(False))}, None),
    "gpt2 with whitespace split": (
        "gpt2",
        {"pre_tokenizer": sequence({"type": "WhitespaceSplit"}, byte_level(False))},
        None,
    ),
    "stories260K metaspace first": ("stories260K", meta_patch("first", False), None),
    "stories260K metaspace first split": ("stories260K", meta_patch("first", True), None),
    "stories260K metaspace always split": ("stories260K", meta_patch("always", True), None),
    "stories260K metaspace never": ("stories260K", meta_patch("never", False), None),
}


def smollm2():
    from gguf import GGUFReader

    fields = GGUFReader(shared / "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
            for i, t in enumerate(tokens)
            if types[i] == 3
        ],
        "normalizer": None,
        "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level(True)),
        "post_processor": None,
        "decoder": byte_level(True, True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {t: i for i, t in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"].contents(),
        },
    }


def base(name):
    if name == "smollm2":
        return smollm2()
    if name == "qwen3":
        return json.loads(gzip.decompress((shared / "models/tokenizers/qwen3/tokenizer.json.gz").read_bytes()))
    folder = "tokenizers/gpt2" if name == "gpt2" else name
    return json.loads((shared / "models" / folder / "tokenizer.json").read_text())


rng = random.Random(7)
cases = {}
for name, (of, patch, pre) in CASES.items():
    spec = base(of)
    for key, value in patch.items():
        spec[key] = {**spec["model"], **value} if key == "model" else value
        if key == "model" and value.get("type") == "Unigram":
            spec[key] = value
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    size = tokenizer.get_vocab_size()
    ids = [tokenizer.encode(t, add_special_tokens=False).ids for t in TEXTS]
    decoded = [tokenizer.decode(i, skip_special_tokens=False) for i in ids]
    # random ids: mostly invalid UTF-8; only byte-level decoding is defined the same way for those (see tokenizer.ts)
    noise = [[rng.randrange(size) for _ in range(12)] for _ in range(12)] if of in ("gpt2", "qwen3", "smollm2") else []
    cases[name] = {
        "base": of,
        "patch": patch,
        "pre": pre,
        "ids": ids,
        "decoded": decoded,
        "noise": [{"ids": n, "text": tokenizer.decode(n, skip_special_tokens=True)} for n in noise],
        "withSpecial": tokenizer.encode("Hello there").ids,
    }

out.write_text(json.dumps({"texts": TEXTS, "cases": cases}, ensure_ascii=True) + "\n")
print(out, out.stat().st_size, "bytes")
