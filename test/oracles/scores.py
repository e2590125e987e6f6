"""Writes ../fixtures/scores.json.gz: BLEU, chrF, their tokenizers and paired tests by sacreBLEU, over texts made here.

Usage: python test/oracles/scores.py   (needs `sacrebleu`, `regex` and `numpy`)
"""

import gzip
import json
import logging
import pathlib
import random
import unicodedata

import numpy as np
import regex
import sacrebleu
from philox import philox, uniforms
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import _compute_p_value, estimate_ci

out = pathlib.Path(__file__).parent.parent / "fixtures" / "scores.json.gz"
rng = random.Random(7)
logging.getLogger("sacrebleu").setLevel(logging.ERROR)

# Sixteen languages and more, written for this file.
TEXTS = {
    "en": ["The cat sat on the mat, and it didn't move.", "Prices rose by 1,000.5 dollars (about 3.2%) in 2024!", "\"Why,\" she asked, \"is it so cold?\"", "He lives at 12-14 Long Street; it's 5 km away."],
    "de": ["Der Hund schläft vor der Tür, weil es regnet.", "Das kostet 1.000,50 € – also etwa 3,2 % mehr.", "„Warum?“, fragte sie, „ist es so kalt?“", "Straße und Größe schreibt man mit ß."],
    "fr": ["L'enfant n'a pas mangé : il dort aujourd'hui.", "Cela coûte 1 000,50 € (environ 3,2 % de plus) !", "« Pourquoi ? » demanda-t-elle.", "Où est-ce que tu vas ?"],
    "es": ["¿Dónde está la biblioteca? ¡No lo sé!", "El niño comió 2,5 manzanas a las 10:30.", "Ella dijo: «Mañana será otro día».", "Mi dirección es C/ Mayor, n.º 5, 3.ª planta."],
    "it": ["L'uomo dell'albero non c'è più.", "Perché no? È così: 1.234,56 euro.", "Vado all'università alle 8.30.", "«Ciao!», disse; poi andò via..."],
    "pt": ["Não há ninguém em casa, só o cão.", "O preço é R$ 1.999,90 à vista.", "Vou-me embora amanhã às 7h30.", "— Quem és tu? — perguntou ele."],
    "nl": ["Het meisje z'n fiets staat 's avonds buiten.", "De auto's kosten € 12.500,-.", "Hij zei: 'Ik kom om 20.15 uur.'", "Wij eten vanavond geen vis, hè?"],
    "pl": ["Źdźbło trawy leży na ścieżce, a żaba śpi.", "To kosztuje 1 234,50 zł (ok. 5%).", "„Dlaczego?” – zapytał chłopiec.", "W 2023 r. było gorąco."],
    "cs": ["Příliš žluťoučký kůň úpěl ďábelské ódy.", "Cena je 1 500,- Kč, tj. o 3,5 % více.", "„Proč?“ zeptala se.", "Dnes je 5. května."],
    "sv": ["Flickan åt äpplet på ön, fast hon inte fick.", "Det kostar 1 000:- eller 99,50 kr.", "”Varför?” frågade han.", "Klockan är 14.30 nu."],
    "tr": ["İstanbul'da hava bugün çok güzel.", "Fiyatı 1.250,75 TL'dir; %18 KDV dâhil.", "“Neden?” diye sordu ışıkta.", "IĞDIR ve İZMİR büyük harflerle."],
    "ru": ["Кошка сидит на окне и смотрит на улицу.", "Это стоит 1 000,50 руб. (на 3,2 % больше).", "«Почему?» — спросила она.", "В 2024 г. было −15 °C."],
    "ar": ["القطة تجلس على النافذة، وتنظر إلى الشارع.", "السعر ١٬٠٠٠٫٥٠ دينار (أي ٣٪ أكثر)؟", "قال: «لماذا؟» ثم خرج.", "اليوم هو ٥ مايو ٢٠٢٤."],
    "hi": ["बिल्ली खिड़की पर बैठी है।", "इसकी कीमत ₹१,२३४.५० है, यानी ३% अधिक।", "उसने पूछा, \"क्यों?\"", "आज ५ मई २०२४ है॥"],
    "ja": ["猫が窓に座って、外を見ている。", "値段は1,000.5円（約３％増）です！", "「なぜ？」と彼女は聞いた。", "東京タワーは３３３メートル・高い。"],
    "zh": ["猫坐在窗边，看着街道。", "价格是1,000.5元（约3.2％）！", "“为什么？”她问道。", "𠀀𠀁是扩展B区的字，㐀也是。"],
    "ko": ["고양이가 창가에 앉아 있다.", "가격은 1,000.5원(약 3%)입니다!", "\"왜?\" 하고 그녀가 물었다.", "오늘은 5월 5일이다."],
    "th": ["แมวนั่งอยู่ที่หน้าต่าง", "ราคา 1,000.50 บาท (๓%)", "เธอถามว่า \"ทำไม?\"", "วันนี้วันที่ ๕"],
    "odd": ["😀👍🏽 ok... 👨‍👩‍👧 !!", "&quot;a&quot; &amp;amp; &lt;b&gt; <skipped> x-\ny\nz", "  leading\tand trailing \u00a0\u2003 ", "e\u0301 ½ Ⅷ ² ①, 3.14-15: a.b,c 1.,2 .5 5.", "\x1c\x1d\x85\ufeff\u200bzero", "C++ == C# && $5/€6 ~[x]{y}|z^2` _under_", "", " ", "ΣΑΣ ΟΔΥΣΣΕΥΣ ẞ ǅ ﬁ"],
}
WORDS = [word for texts in TEXTS.values() for text in texts for word in text.split()]


def known(point):
    """Characters that Unicode has had for long: hosts differ in what is new."""
    return unicodedata.category(chr(point)) not in ("Cn", "Co", "Cs")


POINTS = [p for p in [*range(0x3000), *range(0x3000, 0x4E00, 7), *range(0x4E00, 0xA000, 97), *range(0xA000, 0x20000, 11)] if known(p)]
COMMON = " .,-'\"!?0123456789abcXYZ" * 3


def noise():
    chars = [rng.choice(COMMON) if rng.random() < 0.6 else chr(rng.choice(POINTS)) for _ in range(rng.randrange(60))]
    return "".join(chars)


def changed(text):
    """Another system's output: words left out, doubled, changed, moved, characters changed."""
    words = text.split(" ")
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(words))
        kind = rng.randrange(6)
        if kind == 0 and len(words) > 1:
            del words[at]
        elif kind == 1:
            words.insert(at, words[at])
        elif kind == 2:
            words[at] = rng.choice(WORDS)
        elif kind == 3:
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        elif kind == 4 and words[at]:
            cut = rng.randrange(len(words[at]))
            words[at] = words[at][:cut] + rng.choice(COMMON) + words[at][cut + 1 :]
        else:
            words[at] = words[at].swapcase()
    return " ".join(words)


def corpus(texts, odd=True):
    refs = [[changed(text) if r else text for text in texts] for r in range(3)]
    systems = [[changed(text) for text in texts] for _ in range(2)]
    if odd:
        systems[0][0] = ""  # nothing at all
        systems[0][-1] = refs[0][-1]
    return {"systems": systems, "references": refs}


corpora = {name: corpus(texts) for name, texts in TEXTS.items()}
corpora["all"] = corpus([text for texts in TEXTS.values() for text in texts])
corpora["noise"] = corpus([noise() for _ in range(120)])
corpora["short"] = corpus(["a", "b c", "d e f", "g.", "h, i", "1.5"])
corpora["nothing right"] = {"systems": [["x", "y z"], ["", ""]], "references": [["a b c", "d"], ["e", "f"], ["g", "h"]]}
corpora["empty references"] = {"systems": [["x", "y z"], ["", "a"]], "references": [["", ""], ["", "y"], ["x", ""]]}
# a reference may be missing
with_gaps = corpus(TEXTS["en"] + TEXTS["de"])
with_gaps["references"][2] = [None if i % 2 else text for i, text in enumerate(with_gaps["references"][2])]
corpora["gaps"] = with_gaps

BLEUS = [
    *({"tokenize": name} for name in ["13a", "intl", "zh", "char", "none"]),
    {"lowercase": True},
    {"smooth_method": "floor"},
    {"smooth_method": "floor", "smooth_value": 0.01},
    {"smooth_method": "add-k"},
    {"smooth_method": "add-k", "smooth_value": 0.5},
    {"smooth_method": "none"},
    {"effective_order": True},
    {"max_ngram_order": 2},
    {"tokenize": "intl", "lowercase": True, "smooth_method": "floor", "effective_order": True},
]
CHRFS = [
    {},
    {"word_order": 2},
    {"word_order": 1, "beta": 1},
    {"beta": 3},
    {"char_order": 4},
    {"lowercase": True},
    {"whitespace": True},
    {"eps_smoothing": True},
    {"word_order": 2, "whitespace": True, "lowercase": True, "eps_smoothing": True},
]


def figures(score):
    if not hasattr(score, "bp"):
        return {"name": score.name, "score": score.score}
    return {"name": score.name, "score": score.score, "counts": score.counts, "totals": score.totals, "precisions": score.precisions, "bp": score.bp, "lengths": [score.sys_len, score.ref_len]}


def scored(metric_type, options, data, sentences):
    rows = []
    for count in [1, len(data["references"])]:
        references = data["references"][:count]
        metric = metric_type(**options)
        total = metric.corpus_score(data["systems"][0], references)
        row = {"references": count, "corpus": figures(total), "signature": str(metric.get_signature())}
        if sentences:
            row["sentences"] = [
                metric.sentence_score(hyp, [ref[i] for ref in references if ref[i] is not None]).score
                for i, hyp in enumerate(data["systems"][0])
            ]
        rows.append(row)
    return rows


def results(metric_type, all_options):
    return [
        {"options": options, "corpora": {name: scored(metric_type, options, data, name != "all") for name, data in corpora.items()}}
        for options in all_options
    ]


def indices(count, resamples, seed):
    """src/evaluate/scores/resampling.ts, drawOf"""
    return np.floor(count * uniforms(resamples * count, seed, 98)).astype(int).reshape(resamples, count)


def flips(count, trials, seed):
    """src/evaluate/scores/resampling.ts, flipOf: the bits of four words for 128 segments"""
    blocks = -(-count // 128)
    block, trial = (np.array(x, np.uint64).ravel() for x in np.meshgrid(np.arange(blocks), np.arange(trials)))
    words = philox((block, trial, np.full(block.shape, 99, np.uint64), np.ones(block.shape, np.uint64)), (seed & 0xFFFFFFFF, seed >> 32))
    bits = (np.stack(words, 1)[:, :, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    return bits.reshape(trials, blocks * 128)[:, :count].astype(int)


def tested(metric, seed, resamples, trials):
    """The paired tests of sacreBLEU's significance.py, with draws of our generator, and counts in f64: in its f32 chrF is off by 1e-5."""
    data = corpora["all"]
    references = data["references"][:2]
    a, b = (metric._extract_corpus_statistics(system, references) for system in data["systems"])
    scores = [metric._aggregate_and_compute(stats).score for stats in (a, b)]
    difference = abs(scores[0] - scores[1])
    drawn = indices(len(a), resamples, seed)
    found = [np.array([metric._compute_score_from_stats(s.sum(0)).score for s in np.array(stats, dtype="float64")[drawn]]) for stats in (a, b)]
    changes = np.abs(found[1] - found[0])
    swapped = flips(len(a), trials, seed)
    first, second = np.array(a), np.array(b)
    shuffled = [swapped @ first + (1 - swapped) @ second, (1 - swapped) @ first + swapped @ second]
    trial_scores = [np.array([metric._aggregate_and_compute(x).score for x in half[:, None]]) for half in shuffled]
    return {
        "seed": seed,
        "resamples": resamples,
        "trials": trials,
        "scores": scores,
        "intervals": [list(map(float, estimate_ci(one))) for one in found],
        "bootstrap": _compute_p_value(changes - changes.mean(), difference),
        "randomisation": _compute_p_value(np.abs(trial_scores[0] - trial_scores[1]), difference),
    }


def ranges(pattern):
    found = []
    for point in range(0x110000):
        if 0xD800 <= point <= 0xDFFF or not regex.match(pattern, chr(point)):
            continue
        if found and found[-1] == point - 1:
            found[-1] = point
        else:
            found += [point, point]
    return found


lines = [text for texts in TEXTS.values() for text in texts] + [noise() for _ in range(200)]
tokenizers = {name: BLEU(tokenize=name) for name in ["13a", "intl", "zh", "char", "none"]}
fixture = {
    "version": sacrebleu.__version__,
    "corpora": corpora,
    "bleu": results(BLEU, BLEUS),
    "chrf": results(CHRF, CHRFS),
    "tests": [
        {"metric": "bleu", "options": {}, **tested(BLEU(), 3, 200, 300)},
        {"metric": "bleu", "options": {"smooth_method": "add-k"}, **tested(BLEU(smooth_method="add-k"), 2**40 + 1, 100, 150)},
        {"metric": "chrf", "options": {"word_order": 2}, **tested(CHRF(word_order=2), 0, 100, 150)},
    ],
    "tokenized": {"lines": lines, **{name: [metric._preprocess_segment(line).split() for line in lines] for name, metric in tokenizers.items()}},
    "categories": {name: ranges(rf"\p{{{name}}}") for name in "PSN"},
    "spaces": [p for p in range(0x110000) if not 0xD800 <= p <= 0xDFFF and chr(p).isspace()],
    # characters whose lower case is another text, and the texts
    "lower": [(chr(p), chr(p).lower()) for p in range(0x110000) if not 0xD800 <= p <= 0xDFFF and chr(p).lower() != chr(p)],
}
text = json.dumps(fixture, ensure_ascii=False, separators=(",", ":"))
out.write_bytes(gzip.compress(text.encode(), mtime=0))
print(f"{out.name}: {len(text)} characters, {out.stat().st_size} bytes, sacreBLEU {sacrebleu.__version__}")
