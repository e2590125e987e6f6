import { Bpe, type BpeOptions } from './bpe.ts';
import { toByteLevel } from './byte-level.ts';
import { asArray, asFlag, asId, asObject, asText, invalidTokenizer, isId, type Json, quoted } from './checks.ts';
import { type Pairs, PairTable, ScoredPairs } from './pairs.ts';
import { Unigram } from './unigram.ts';

/** SentencePiece's own rule for merges, by id, where a vocabulary comes with scores and not with merges. */
export interface TokenScores {
  readonly scores: ArrayLike<number>;
  /** Whether a token may come of a merge: not the control, byte and unknown ones. */
  readonly mergeable: readonly boolean[];
}

/** How words are written in tokens. */
export interface WordModel {
  /** Adds the tokens of a word. @throws E_TOKENIZER_INVALID when it cannot be written */
  encode(word: string, out: number[]): void;
  /** The same, but these ids never come of a text that reads like them: only, as ever, of a character that is unknown. */
  without(ids: ReadonlySet<number>): WordModel;
}

/** The tokens of a model, and how it writes a word in them. */
export interface Vocabulary {
  /** By text. */
  readonly ids: ReadonlyMap<string, number>;
  /** How many tokens there are: the first id of those that are added without one. */
  readonly size: number;
  /** By id; holes where the vocabulary has none. */
  readonly texts: (string | undefined)[];
  readonly unknown: string | null;
  readonly model: WordModel;
  /** Whether every character of a word comes out in a token: none is dropped, and unknown ones do not share one. */
  readonly complete: boolean;
}

const BYTE_TOKENS = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
/** What SentencePiece writes for a space. Words of byte-level vocabularies are cut by regular expressions already. */
const MARK = '\u2581';

/**
 * @param bytes whether words come in GPT-2's alphabet, or are to be written in it
 * @param alphabet the characters that words are made of, when these are few
 * @throws E_TOKENIZER_INVALID with the first thing that is wrong or not supported
 */
export function readVocabulary(
  model: Json,
  scores: TokenScores | null,
  bytes: boolean,
  alphabet: readonly string[] | null,
): Vocabulary {
  const type = model['type'] ?? ('merges' in model ? 'BPE' : undefined);
  if (type === 'BPE') return readBpe(model, scores, bytes, alphabet);
  if (type === 'Unigram') return readUnigram(model, bytes);
  throw invalidTokenizer(`The tokenizer’s model is ${String(type)}; only BPE and Unigram are read.`);
}

function readUnigram(model: Json, bytes: boolean): Vocabulary {
  const entries = asArray(model['vocab'], 'The vocabulary').map((entry, id): readonly [string, number] => {
    const [text, score, ...rest] = Array.isArray(entry) ? entry : [];
    if (typeof score !== 'number' || !Number.isFinite(score) || rest.length > 0) {
      throw invalidTokenizer(`Entry ${id} of the vocabulary is not a text with a score.`);
    }
    return [asText(text, `Entry ${id} of the vocabulary`), asRead(score)];
  });
  if (entries.length === 0) throw invalidTokenizer('The vocabulary is empty.');
  const unknownId = model['unk_id'] ?? null;
  if (unknownId !== null && asId(unknownId, 'The id of the unknown token') >= entries.length) {
    throw invalidTokenizer('The id of the unknown token is outside the vocabulary.');
  }
  const ids = new Map(entries.map(([text], id) => [text, id]));
  const byteFallback = asFlag(model['byte_fallback'], 'byte_fallback', false);
  const unigram = new Unigram({ entries, ids, unknownId: unknownId as number | null, byteFallback });
  return {
    ids,
    size: entries.length,
    texts: entries.map(([text]) => text),
    unknown: unknownId === null ? null : entries[unknownId as number]![0],
    model: bytes ? inBytes(unigram) : unigram,
    complete: byteFallback && BYTE_TOKENS.every((text) => ids.has(text)),
  };
}

function inBytes(model: WordModel): WordModel {
  return {
    encode: (word, out) => model.encode(toByteLevel(word), out),
    without: (ids) => inBytes(model.without(ids)),
  };
}

/**
 * A score as the reference reads it: its digits as a whole number, rounded, divided by a power of ten, rounded again. That may be
 * the number beside the one that is written, and decides between ways to write a text that are equally likely.
 */
function asRead(score: number): number {
  const [, whole, fraction = ''] = /^-?(\d+)(?:\.(\d+))?$/.exec(String(score)) ?? [];
  if (whole === undefined || whole.length + fraction.length < 16) return score; // exact both ways, or far from all others
  const size = Number(BigInt(whole + fraction)) / 10 ** fraction.length;
  return score < 0 ? -size : size;
}

function readBpe(
  model: Json,
  scores: TokenScores | null,
  bytes: boolean,
  alphabet: readonly string[] | null,
): Vocabulary {
  const dropout = model['dropout'] ?? 0;
  if (dropout !== 0) throw invalidTokenizer('The tokenizer drops merges at random (dropout), which is not supported.');
  const ids = new Map<string, number>();
  const vocabulary = asObject(model['vocab'], 'The vocabulary');
  const keys = Object.keys(vocabulary); // entries would take four times as long
  const texts = new Array<string | undefined>(keys.length).fill(undefined); // a dense array, not a table
  for (const text of keys) {
    const value = vocabulary[text];
    const id = isId(value) ? value : asId(value, `The id of ${quoted(text)}`);
    if (texts[id] !== undefined) throw invalidTokenizer(`Two tokens of the vocabulary have the id ${id}.`);
    ids.set(text, id);
    texts[id] = text;
  }
  if (ids.size === 0) throw invalidTokenizer('The vocabulary is empty.');
  const optional = (key: string): string | null => {
    const value = model[key] ?? null;
    return value === null ? null : asText(value, `The model’s ${key}`);
  };
  const prefix = optional('continuing_subword_prefix') ?? '';
  const suffix = optional('end_of_word_suffix') ?? '';
  const unknown = optional('unk_token');
  const outside = new Set(BYTE_TOKENS.concat(unknown ?? []).flatMap((text) => ids.get(text) ?? []));
  const byteFallback = asFlag(model['byte_fallback'], 'byte_fallback', false);
  const hasBytes = byteFallback && BYTE_TOKENS.every((text) => ids.has(text));
  const hasUnknown = unknown !== null && ids.has(unknown);
  // where characters are dropped, those on both sides of them may merge
  const cuts = prefix === '' && suffix === '' && ids.has(MARK) && (hasBytes || hasUnknown);
  const cutter = cuts ? new Cutter(outside) : null;
  const pairs =
    scores === null ? readMerges(model['merges'], ids, prefix, cutter) : scoredPairs(texts, ids, scores, cutter);
  const options: BpeOptions = {
    ids,
    pairs,
    unknown,
    fuseUnknown: asFlag(model['fuse_unk'], 'fuse_unk', false),
    byteFallback,
    ignoreMerges: asFlag(model['ignore_merges'], 'ignore_merges', false),
    bytes,
    prefix,
    suffix,
    cut: cutter?.result ?? null,
  };
  const knowsAll = alphabet !== null && prefix === '' && suffix === '' && alphabet.every((text) => ids.has(text));
  const complete = knowsAll || hasBytes || (hasUnknown && !options.fuseUnknown);
  return { ids, size: ids.size, texts, unknown, model: new Bpe(options), complete };
}

/** Learns from a vocabulary's merges where words may be cut before a mark (see `BpeOptions.cut`). */
class Cutter {
  readonly #outside: ReadonlySet<number>;
  readonly #notAfter = new Set<number>();
  #impossible = false;

  /** @param outside tokens that stand for characters whose texts they are not: merges of these cannot be judged by text */
  constructor(outside: ReadonlySet<number>) {
    this.#outside = outside;
    this.#notAfter.add(MARK.charCodeAt(0)); // else long runs of marks would be cut into as many words
  }

  see(merged: string, left?: number, right?: number): void {
    if (this.#outside.has(left ?? -1) || this.#outside.has(right ?? -1)) this.#impossible = true;
    for (let at = merged.indexOf(MARK, 1); at > 0; at = merged.indexOf(MARK, at + 1)) {
      this.#notAfter.add(merged.charCodeAt(at - 1));
    }
  }

  get result(): BpeOptions['cut'] {
    return this.#impossible ? null : { mark: MARK, notAfter: this.#notAfter };
  }
}

function readMerges(node: unknown, ids: ReadonlyMap<string, number>, prefix: string, cutter: Cutter | null): Pairs {
  const merges = asArray(node, 'The list of merges');
  const table = new PairTable(merges.length);
  let rank = 0;
  for (let i = 0; i < merges.length; i++) {
    const merge = merges[i];
    if (typeof merge === 'string' && merge.startsWith('#version')) continue; // a line of the older format
    const pair = typeof merge === 'string' ? halves(merge) : Array.isArray(merge) && merge.length === 2 ? merge : [];
    const [left, right] = pair;
    if (typeof left !== 'string' || typeof right !== 'string')
      throw invalidTokenizer(`Merge ${i} is not a pair of texts.`);
    if (!right.startsWith(prefix))
      throw invalidTokenizer(`Merge ${i} continues a word without the prefix of such tokens.`);
    const merged = left + (prefix === '' ? right : right.slice(prefix.length));
    const a = ids.get(left);
    const b = ids.get(right);
    const c = ids.get(merged);
    if (a === undefined || b === undefined || c === undefined) {
      throw invalidTokenizer(
        `Merge ${i} (${quoted(left)} ${quoted(right)}) names a token that is not in the vocabulary.`,
      );
    }
    cutter?.see(merged, a, b);
    table.set(a, b, rank++, c);
  }
  return table;
}

/** What stands before and after the only space. */
function halves(merge: string): readonly string[] {
  const at = merge.indexOf(' ');
  return at < 0 || merge.includes(' ', at + 1) ? [] : [merge.slice(0, at), merge.slice(at + 1)];
}

function scoredPairs(
  texts: readonly (string | undefined)[],
  ids: ReadonlyMap<string, number>,
  { scores, mergeable }: TokenScores,
  cutter: Cutter | null,
): Pairs {
  const mergeableIds = new Map<string, number>();
  for (const [text, id] of ids) {
    if (text === '' || mergeable[id] !== true) continue;
    mergeableIds.set(text, id);
    cutter?.see(text);
  }
  return new ScoredPairs(texts, mergeableIds, scores);
}
