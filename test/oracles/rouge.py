"""Writes ../fixtures/rouge.json.gz: stems by NLTK's Porter stemmer and ROUGE by google's rouge_score, over words and texts made here.

Usage: python test/oracles/rouge.py   (needs `rouge-score`)
"""

import gzip
import json
import pathlib
import random

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer, tokenize

out = pathlib.Path(__file__).parent.parent / "fixtures" / "rouge.json.gz"
rng = random.Random(11)
stemmer = PorterStemmer()

SUFFIXES = (
    "s ss sses ies ied eed ed ing ational tional enci anci izer bli abli alli entli eli ousli ization ation ator alism iveness fulness "
    "ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion sion "
    "tion ou ism ate iti ous ive ize e ll le y ly ally fully logy ably ity ated bled ized tted lled ssed zzed ying yed ee"
).split()
STEMS = (
    "a b y be by oat tree try toy ivy sky skies die dying lying tying news inning innings outing cannings howe proceed exceed succeed trouble "
    "oaten orrery syzygy falafel archae geo theo philo conflat troubl siz hopp tann fall hiss fizz fail fil happ enjo spy fly caress pon ti cat "
    "feed agre plaster bl motor s relat condition rat valenc hesit digit conform radic differ vil analog vietnam predic oper feud decis hope "
    "call form sens triplic electr good reviv allow infer airlin gyroscop adjust defens irrit replac depend adopt homolog commun activ angular "
    "effect bowdler probat rate ceas control roll rad ab aa yy yyy yyyy x9 2020 9 a11 h2o mp3 covid19 straw wax play annul isl"
).split()
WORDS = sorted(
    {stem + suffix for stem in STEMS for suffix in ["", *SUFFIXES]}
    | {"".join(rng.choice("aeiouybcdlnrstwxz0") for _ in range(rng.randrange(1, 9))) + rng.choice(["", *SUFFIXES]) for _ in range(3000)}
    | {"".join(rng.choice("aeiouybcdlnrstwxz0") for _ in range(3)) + rng.choice(SUFFIXES) + rng.choice(SUFFIXES) for _ in range(2000)}
)

VOCABULARY = (
    "The author's full name is Hsiao Yun-Hwa; she writes leadership books. Writers, writing & written works: 1991, mp3s! running runs ran "
    "happily generalizations relational news skies dying Basil Mahfouz Al-Kuwaiti Kuwait was born on 09/08/1956 naïve café"
).split()
ODD = [
    "",
    " ",
    "...",
    "日本語",
    "İstanbul’da",
    "K and Kelvin K",  # U+212A in lower case is k
    "Straße ẞ ﬁne",
    "a\r\nb\r\nc",
    "one\ttwo\u00a0three\u2028four",
    "a a a a",
    "a b a b a b",
    "don't stop-me now",
    "😀 ok 👍🏽 ok",
    "ΣΑΣ ὈΔΥΣΣΕΎΣ",
    "x" * 300,
    "123 4567 89abc",
    "under_score __init__",
]


def text():
    return " ".join(rng.choice(VOCABULARY) for _ in range(rng.randrange(25)))


def changed(words):
    words = [word for word in words.split(" ") if rng.random() < 0.8]
    if words and rng.random() < 0.5:
        rng.shuffle(words)
    return " ".join(words + ([rng.choice(VOCABULARY)] if rng.random() < 0.3 else []))


pairs = [(a, b) for a in ODD for b in ODD]
for _ in range(150):
    reference = text()
    pairs.append((rng.choice([changed, str.upper, str])(reference), reference))
TYPES = ["rouge1", "rouge2", "rougeL"]
scorers = [rouge_scorer.RougeScorer(TYPES, use_stemmer=stems) for stems in (False, True)]


def numbers(scores):
    return [list(scores[name]) for name in TYPES]


several = [(text(), [text() for _ in range(rng.randrange(1, 4))]) for _ in range(40)]
fixture = {
    "stems": [(word, stemmer.stem(word)) for word in WORDS],
    "tokens": [(t, tokenize.tokenize(t, None), tokenize.tokenize(t, stemmer)) for t in ODD + [text() for _ in range(20)]],
    "pairs": [{"hypothesis": h, "reference": r, "scores": [numbers(s.score(r, h)) for s in scorers]} for h, r in pairs],
    "several": [{"hypothesis": h, "references": rs, "scores": [numbers(s.score_multi(rs, h)) for s in scorers]} for h, rs in several],
}
data = json.dumps(fixture, ensure_ascii=False, separators=(",", ":"))
out.write_bytes(gzip.compress(data.encode(), mtime=0))
print(f"{out.name}: {len(WORDS)} words, {len(pairs)} pairs, {out.stat().st_size} bytes")
