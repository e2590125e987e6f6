"""Writes ../fixtures/tokenizer-corpus.json: what Hugging Face `tokenizers` makes of small tokenizers in which every option varies.

Usage: python test/oracles/tokenizer_corpus.py   (needs `tokenizers` 0.23)

Vocabularies are made up here. A case names one of them and says what is changed about the tokenizer; ids stand as one text for each
text of the list. `plain` has those that differ when special tokens are read as text (`encode_special_tokens`). A model may still write
such a token, where its vocabulary has the text; then `plain` is what it writes when nothing in it leads there (`without`).
"""

import itertools
import json
import pathlib
import random

from tokenizers import Tokenizer

out = pathlib.Path(__file__).parent.parent / "fixtures" / "tokenizer-corpus.json"
rng = random.Random(11)

TEXTS = [
    "", " ", "a", "   a  b ", "Hello world, hello.", "abcabc abc", "▁a▁b", "don't I'LL we'Ve '\u017f", "a\nb\r\nc\n\n d", "日本語 abc",
    "éÉe\u0301 e\u0323\u0302", "a😀b 👩‍👩‍👧", "123 4567 ٣٤ ½ Ⅻ²", "a.b,c! — “x” ¿?", "<s>a <s> b  <s>", "<x>A<X>a <x>", "ab<x>cd foo foobar",
    "a\u00a0b\u3000c\u0085d\u200be\ufefff", "İI ΑΣ ß ﬁ① ｆｕｌｌ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababababababababababababababab",
    "\t\ta\t\x00\x01\x7f", "a<0x41>b <unk>", "a☃b ☃☃ ab☃☃", "\u1100\u1161\u11a8 각 नमस्ते", "__proto__ constructor", "  \n  \n  x", "HTTPServer fooBar",
    "[M] a[M]b [M]", "x  <x>  y",
]
ALPHABET = sorted(set("".join(TEXTS)) - set("☃😀𝐱"))


def byte_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    extra = iter(range(256, 512))
    return {b: chr(b) if b in printable else chr(next(extra)) for b in range(256)}


BYTES = byte_alphabet()


def in_bytes(text):
    return "".join(BYTES[b] for b in text.encode())


def bpe(words, symbols, count, prefix="", suffix="", **options):
    """Merges that are learnt from the words, in an order of chance."""
    vocabulary = dict.fromkeys(symbols)
    written = []
    for word in words:
        parts = [(prefix if i else "") + c + (suffix if i == len(word) - 1 else "") for i, c in enumerate(word)]
        written.append(parts)
        if prefix or suffix:
            vocabulary.update(dict.fromkeys(parts))
    merges = []
    while len(merges) < count:
        parts = rng.choice([w for w in written if len(w) > 1])
        i = rng.randrange(len(parts) - 1)
        left, right = parts[i], parts[i + 1]
        if left not in vocabulary or right not in vocabulary:
            continue
        merged = left + right[len(prefix) :]
        vocabulary[merged] = None
        merges.append([left, right])
        for other in written:
            j = 0
            while j < len(other) - 1:
                if other[j] == left and other[j + 1] == right:
                    other[j : j + 2] = [merged]
                j += 1
    return {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": prefix or None, "end_of_word_suffix": suffix or None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **options,
        "vocab": {t: i for i, t in enumerate(vocabulary)}, "merges": merges,
    }  # fmt: skip


def unigram(bytes_too, unk, **options):
    pieces = [["<unk>", 0.0]] + ([[f"<0x{b:02X}>", -15.0] for b in range(256)] if bytes_too else [])
    known = {p for p, _ in pieces}
    for c in ALPHABET:
        if rng.random() < 0.8 and c not in known:
            pieces.append([c.replace(" ", "▁"), round(-3 - 6 * rng.random(), 3)])
            known.add(c)
    for text in TEXTS:
        text = text.replace(" ", "▁")
        for _ in range(4):
            if len(text) > 2:
                i = rng.randrange(len(text) - 2)
                piece = text[i : i + rng.randrange(2, 6)]
                if piece not in known:
                    pieces.append([piece, round(-2 - 9 * rng.random(), 3)])
                    known.add(piece)
    return {"type": "Unigram", "unk_id": unk, "vocab": pieces, "byte_fallback": bytes_too, **options}


marked = [t.replace(" ", "▁") for t in TEXTS if t]
some = [c for c in ALPHABET if rng.random() < 0.75]
letters = ["<unk>", "▁", *[c for c in some if c != "▁"]]
byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
MODELS = {
    "bytes": bpe([in_bytes(t) for t in TEXTS], list(BYTES.values()), 60),
    "letters": bpe(marked, letters, 90, unk_token="<unk>"),
    "fused": bpe(marked, letters, 40, unk_token="<unk>", fuse_unk=True),
    "dropped": bpe(marked, letters, 60),
    "fallback": bpe(marked, [*letters, *byte_tokens], 60, unk_token="<unk>", fuse_unk=True, byte_fallback=True),
    "some bytes": bpe(marked, [*letters, *byte_tokens[:128]], 30, unk_token="<unk>", byte_fallback=True),
    "prefix": bpe(marked, letters, 60, prefix="##", unk_token="<unk>"),
    "suffix": bpe(marked, letters, 60, suffix="</w>", unk_token="<unk>"),
    "whole words": bpe(marked, letters, 60, unk_token="<unk>", ignore_merges=True),
    "unigram": unigram(False, 0),
    "unigram bytes": unigram(True, 0),
}  # fmt: skip


def regex(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def metaspace(scheme, split, mark="▁"):
    return {"type": "Metaspace", "replacement": mark, "prepend_scheme": scheme, "split": split}


def byte_level(prefix, cut):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": cut}


def token(content, flags="", special=False):
    names = {"w": "single_word", "l": "lstrip", "r": "rstrip", "n": "normalized"}
    return {"content": content, **{name: letter in flags for letter, name in names.items()}, "special": special}


def replace(pattern, content, kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REGEXES = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]|\s+(?!\S)|\s+",
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r" ?[^(\s|.,!?…。，、।۔،)]+", r"\w+|[^\w\s]+", r"\d{1,3}(?=(?:\d{3})*\b)", r"(?<=a)b|c", r"(?<!a)b", r"\b", r"^", r"$", r"a*",
    r"(?>a+)b|.", r"a+?b?", r"(?:ab|a)b?", r"[\p{P}\$\+<=>\^~\|]+", r"[一-龥぀-ゟ゠-ヿ]+", r"\A.|.\z", r".\Z", r"(a(b(c)?)?)+",
    r"[[:alpha:]]+|[[:digit:]]", r"\p{Han}|\p{^L}", r"(?i)[a-c]+", r"\x{61}|\u0062", r"(?=[A-Z])", r"(a|b)*c", r"\h+", r"[^\S\n]+", r"(?m).b",
    r" ?[^(\s|[.,!?…。，、।۔،])]+", r"[a-z&&[^aeiou]]+|[^\p{L}&&\S]", r"[\p{Han}]+|[\p{L}\p{M}&&[^\p{Han}]]+|[^a&&b-d]",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+|\s+$|[一-龥ࠀ-一가-퟿]+", r"(?:'[sS]|'[tT]|'[rR][eE])|<sentinel:[0-9]+>|([\t\n]|    |  )",
]  # fmt: skip
FLAGS = ["".join(f) for n in range(5) for f in itertools.combinations("wlrn", n)]
USUAL = [token("<s>", special=True), token("<x>", "n"), token("[M]", "lr", True)]

cases = []


def case(model, added=USUAL, **parts):
    cases.append({"model": model, "added": added, **parts})


for name in MODELS:
    case(name, pre_tokenizer=byte_level(False, True) if name == "bytes" else metaspace("always", True))
    case(name, pre_tokenizer=byte_level(True, False) if name == "bytes" else None)
    if name != "bytes":
        case(name, normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]})
for i, pattern in enumerate(REGEXES):
    case("letters", pre_tokenizer=regex(pattern, BEHAVIORS[i % 5], i % 7 == 3))
    case("bytes", pre_tokenizer=sequence(regex(pattern, "Isolated"), byte_level(False, False)))
for i, behavior in enumerate(BEHAVIORS):
    for invert in (False, True):
        case("whole words", pre_tokenizer=regex("[ab]+", behavior, invert))
    case("letters", pre_tokenizer={"type": "Punctuation", "behavior": behavior})
    case("dropped", pre_tokenizer={"type": "Split", "pattern": {"String": "ab"}, "behavior": behavior, "invert": i == 2})
for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
    case("letters", pre_tokenizer={"type": kind})
for single in (False, True):
    case("fallback", pre_tokenizer={"type": "Digits", "individual_digits": single})
case("letters", pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": "a"})
case("letters", pre_tokenizer={"type": "FixedLength", "length": 3})
case("letters", pre_tokenizer=sequence(metaspace("first", False), regex(r"\p{N}"), metaspace("first", True)))
for scheme in ("first", "always", "never"):
    for split in (False, True):
        case("fallback", added=[token("<s>", special=True), token("<x>", "n"), token("a", "l")], pre_tokenizer=metaspace(scheme, split))
NORMALIZERS = [
    *[{"type": t} for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")],
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Prepend", "prepend": "ab"},
    replace("a", "$&b"), replace("ab", "c"), replace(r"\s+", " ", "Regex"), replace("^", "▁", "Regex"), replace(r"b*", "-", "Regex"),
    *[
        {"type": "BertNormalizer", "clean_text": a, "handle_chinese_chars": b, "strip_accents": c, "lowercase": d}
        for a, b, c, d in ((True, True, None, True), (True, False, True, False), (False, True, False, True))
    ],
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, replace("  ", " ")]},
]  # fmt: skip
for i, normalizer in enumerate(NORMALIZERS):
    case("letters", normalizer=normalizer, pre_tokenizer=[None, metaspace("first", True), metaspace("first", False)][i % 3])
    case("unigram", normalizer=normalizer, added=[token("<s>", "n", True), token("foo", "nw")])
case("bytes", normalizer={"type": "ByteLevel"})
for i in range(0, len(FLAGS), 2):
    first, second = FLAGS[i], FLAGS[i + 1]
    added = [token("<s>", first, True), token("<x>", second), token("foo", second), token("a ", first), token("[M]", second, True), token("\n", first)]
    case("letters", added=added, normalizer=replace("x", "xx") if i % 4 else None)
case("letters", added=[token("<s>", special=True), token("<s>a", special=True), token("a <s>", "n", True), token("b", "n"), token("ab", "n")])

def without(spec):
    """The tokenizer, with a model that writes none of the special tokens: their texts are changed, and no merge leads to them."""
    model = spec["model"]
    own = model["vocab"] if model["type"] == "BPE" else [piece for piece, _ in model["vocab"]]
    hidden = {t["content"] for t in spec["added_tokens"] if t["special"] and len(t["content"]) > 1 and t["content"] in own}
    if not hidden:
        return spec

    def rename(text):
        return "\ue000" + text if text in hidden else text

    if model["type"] == "BPE":
        prefix = len(model["continuing_subword_prefix"] or "")
        merges = [[a, b] for a, b in model["merges"] if not hidden & {a, b, a + b[prefix:]}]
        changed = {**model, "vocab": {rename(t): i for t, i in model["vocab"].items()}, "merges": merges}
    else:
        changed = {**model, "vocab": [[rename(p), score] for p, score in model["vocab"]]}
    # those that are new to the vocabulary come last, so that the others keep their ids
    added = sorted(spec["added_tokens"], key=lambda t: t["content"] in hidden)
    return {**spec, "model": changed, "added_tokens": added}


compact = []
for entry in cases:
    model = MODELS[entry["model"]]
    size = len(model["vocab"])
    known = model["vocab"] if model["type"] == "BPE" else {p: i for i, (p, _) in enumerate(model["vocab"])}
    added = []
    for t in entry["added"]:
        id = known.get(t["content"])
        if id is None:
            id, size = size, size + 1
        added.append({"id": id, **t})
    spec = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": entry.get("normalizer"),
        "pre_tokenizer": entry.get("pre_tokenizer"), "post_processor": None, "decoder": {"type": "Fuse"}, "model": model,
    }  # fmt: skip

    def encoded(spec, special_as_text):
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        tokenizer.encode_special_tokens = special_as_text
        return [" ".join(map(str, tokenizer.encode(t, add_special_tokens=False).ids)) for t in TEXTS]

    ids = encoded(spec, False)
    plain = {i: p for i, (p, o) in enumerate(zip(encoded(without(spec), True), ids)) if p != o}
    compact.append({**{k: spec[k] for k in ("normalizer", "pre_tokenizer", "added_tokens")}, "model": entry["model"], "ids": ids, "plain": plain})

out.write_text(json.dumps({"texts": TEXTS, "models": MODELS, "cases": compact}, ensure_ascii=False, separators=(",", ":")) + "\n")
print(out, out.stat().st_size, "bytes,", len(compact), "cases")
