import { byName } from '../templates.ts';
import type { TokenizerSpec } from '../types.ts';
import { endTokens } from './end-tokens.ts';
import { invalidVocabulary, type Json, preTokenization } from './pre-tokenizers.ts';

/** llama.cpp's token types (`tokenizer.ggml.token_type`). */
const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;
/** Ids are below this; no real vocabulary comes near. */
const MOST_TOKENS = 1 << 24;

/**
 * Builds what Hugging Face's tokenizer.json and tokenizer_config.json would say from the vocabulary in a GGUF file:
 * model `gpt2` (byte-level BPE) and model `llama` (SentencePiece BPE, whose merges follow from its scores).
 *
 * @param metadata by key; string arrays are arrays of strings, number arrays may be typed arrays
 * @throws E_TOKENIZER_INVALID when the vocabulary is missing, contradictory, or of a kind that we do not know how to split
 */
export function tokenizerFromGguf(metadata: ReadonlyMap<string, unknown>): TokenizerSpec {
  const read = new VocabularyReader(metadata);
  const model = read.text('model');
  if (model === null)
    throw invalidVocabulary('The GGUF file has no tokenizer.ggml.model.', 'Use a file with a vocabulary.');
  if (model !== 'gpt2' && model !== 'llama') {
    throw invalidVocabulary(
      `The GGUF file’s tokenizer is of the kind ${model}; gpt2 and llama are read.`,
      'Use the tokenizer.json that was published with the model.',
    );
  }
  const tokens = read.texts('tokens');
  if (tokens.length === 0) throw invalidVocabulary('The GGUF file’s vocabulary is empty.');
  if (tokens.length > MOST_TOKENS) throw invalidVocabulary(`The GGUF file’s vocabulary has ${tokens.length} tokens.`);
  const types = read.numbers('token_type', tokens.length);
  const warnings: string[] = [];
  const parts = model === 'gpt2' ? byteLevel(read, tokens, warnings) : sentencePiece(read, tokens, types);

  const named = {
    bos_token: read.token('bos_token_id', tokens),
    eos_token: read.token('eos_token_id', tokens),
    unk_token: read.token('unknown_token_id', tokens),
    pad_token: read.token('padding_token_id', tokens),
  };
  const ends = new Set(endTokens(metadata));
  const added: Json[] = [];
  tokens.forEach((content, id) => {
    const type = ends.has(id) ? CONTROL : (types?.[id] ?? NORMAL);
    if (content === '' || (type !== CONTROL && type !== USER_DEFINED && content !== parts.unknown)) return;
    const special = type !== USER_DEFINED;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  });
  return {
    tokenizerJson: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: parts.normalizer,
      pre_tokenizer: parts.preTokenizer,
      post_processor: template(
        (read.flag('add_bos_token') ?? parts.addBos) ? named.bos_token : null,
        (read.flag('add_eos_token') ?? false) ? named.eos_token : null,
        tokens,
      ),
      decoder: parts.decoder,
      model: parts.model,
    },
    tokenizerConfig: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      add_bos_token: read.flag('add_bos_token') ?? parts.addBos,
      ...named,
      clean_up_tokenization_spaces: false,
    },
    ...byName(templates(metadata)),
    ...(parts.scores && { scores: parts.scores }),
    warnings,
  };
}

interface Parts {
  readonly model: Json;
  readonly normalizer: Json | null;
  readonly preTokenizer: Json | null;
  readonly decoder: Json;
  /** The text of the unknown token, where the model has use for one. */
  readonly unknown: string | null;
  /** What `add_bos_token` means when the file does not say. */
  readonly addBos: boolean;
  readonly scores?: NonNullable<TokenizerSpec['scores']>;
}

/** Chat templates by name: the first without one is `default`, others follow a dot. */
function templates(metadata: ReadonlyMap<string, unknown>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of metadata) {
    const [, name = 'default'] = /^tokenizer\.chat_template(?:\.(.+))?$/s.exec(key) ?? ['', ''];
    if (name !== '' && typeof value === 'string') found.set(name, value);
  }
  return found;
}

function byteLevel(read: VocabularyReader, tokens: readonly string[], warnings: string[]): Parts {
  const pre = read.text('pre') || null;
  if (pre === null) {
    warnings.push(
      'The GGUF file does not say how its texts are cut into words (tokenizer.ggml.pre). The default of llama.cpp is used; ' +
        'it is not what most models were trained with, and answers may be worse. Convert the model again.',
    );
  }
  const { preTokenizer, normalizer, ignoreMerges, addBos } = preTokenization(pre ?? 'default');
  return {
    model: bpe(tokens, read.texts('merges'), { unk_token: null, ignore_merges: ignoreMerges }),
    normalizer,
    preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    unknown: null,
    addBos,
  };
}

function sentencePiece(read: VocabularyReader, tokens: readonly string[], types: ArrayLike<number> | null): Parts {
  const scores = read.numbers('scores', tokens.length);
  if (scores === null) throw invalidVocabulary('The GGUF file’s tokenizer is of the kind llama and has no scores.');
  const unknown = read.token('unknown_token_id', tokens) ?? (types === null || types[0] === 2 ? tokens[0]! : null);
  const mergeable = tokens.map((text, id) => (types?.[id] ?? NORMAL) === NORMAL && text !== unknown);
  const prefix = read.flag('add_space_prefix') ?? true;
  const space = { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' };
  const unspace = { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' };
  return {
    model: bpe(tokens, () => mergesFromScores(tokens, scores, mergeable), {
      unk_token: unknown,
      fuse_unk: true,
      byte_fallback: types === null ? tokens.includes('<0x00>') : Array.from(types).includes(BYTE),
      ignore_merges: false,
    }),
    normalizer: {
      type: 'Sequence',
      normalizers: [...(prefix ? [{ type: 'Prepend', prepend: '\u2581' }] : []), space],
    },
    preTokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        unspace,
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    unknown,
    addBos: true,
    scores: { scores, mergeable },
  };
}

type Merges = readonly (string | [string, string])[];

/** @param merges themselves, or what computes them when somebody reads them */
function bpe(tokens: readonly string[], merges: Merges | (() => Merges), options: Json): Json {
  const model = { type: 'BPE', dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null };
  // entries, not assignments: a token may be called __proto__. Of two equal texts the last keeps the id, as in llama.cpp.
  const entries = tokens.map((text, id): [string, number] => [text, id]);
  const known = { ...model, fuse_unk: false, byte_fallback: false, ...options, vocab: Object.fromEntries(entries) };
  if (typeof merges !== 'function') return { ...known, merges };
  let computed: Merges | null = null;
  return Object.defineProperty(known, 'merges', {
    enumerable: true,
    get: () => {
      computed ??= merges();
      return computed;
    },
  });
}

/** Characters of all ways to write the tokens of a vocabulary as two others, with as many steps to find them. */
const MOST_MERGING = 1 << 28;

/**
 * The merges of a SentencePiece BPE vocabulary, for a tokenizer.json: every way to write a token as two others, best score first, in the order
 * in which Hugging Face's converter puts equal scores (longer left part first).
 * @throws E_TOKENIZER_INVALID when they are out of all proportion to the vocabulary
 */
function mergesFromScores(
  tokens: readonly string[],
  scores: ArrayLike<number>,
  mergeable: readonly boolean[],
): [string, string][] {
  const known = new Map<string, number>();
  tokens.forEach((text, id) => {
    if (mergeable[id] && text !== '') known.set(text, id);
  });
  let work = 0;
  for (const text of known.keys()) work += text.length ** 2;
  if (work > MOST_MERGING) {
    throw invalidVocabulary('The GGUF file’s vocabulary has tokens that are too long to be written as merges.');
  }
  const found: { pair: [string, string]; score: number; left: number }[] = [];
  for (const [text, id] of known) {
    const characters = Array.from(text);
    let at = 0;
    for (let i = 1; i < characters.length; i++) {
      at += characters[i - 1]!.length;
      const pair: [string, string] = [text.slice(0, at), text.slice(at)];
      if (known.has(pair[0]) && known.has(pair[1])) found.push({ pair, score: scores[id]!, left: i });
    }
  }
  // the sort is stable; equal score and equal left length then stand in the order of ids
  return found.sort((a, b) => b.score - a.score || b.left - a.left).map(({ pair }) => pair);
}

/** Begin and end tokens around a text, as a post-processor; null without either. */
function template(bos: string | null, eos: string | null, tokens: readonly string[]): Json | null {
  if (bos === null && eos === null) return null;
  const special = (content: string | null, type_id: number) =>
    content === null ? [] : [{ SpecialToken: { id: content, type_id } }];
  const around = (id: string, type: number) => [
    ...special(bos, type),
    { Sequence: { id, type_id: type } },
    ...special(eos, type),
  ];
  const used = [bos, eos].filter((content) => content !== null);
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(
      used.map((content) => [content, { id: content, ids: [tokens.indexOf(content)], tokens: [content] }]),
    ),
  };
}

/** Reads `tokenizer.ggml.*` with the types that it should have. */
class VocabularyReader {
  readonly #metadata: ReadonlyMap<string, unknown>;

  constructor(metadata: ReadonlyMap<string, unknown>) {
    this.#metadata = metadata;
  }

  #get(key: string): unknown {
    return this.#metadata.get(`tokenizer.ggml.${key}`);
  }

  #wrong(key: string, expected: string) {
    return invalidVocabulary(`The GGUF file’s tokenizer.ggml.${key} is not ${expected}.`, 'Download the file again.');
  }

  text(key: string): string | null {
    const value = this.#get(key) ?? null;
    if (value !== null && typeof value !== 'string') throw this.#wrong(key, 'a string');
    return value;
  }

  flag(key: string): boolean | null {
    const value = this.#get(key) ?? null;
    if (value !== null && typeof value !== 'boolean') throw this.#wrong(key, 'true or false');
    return value;
  }

  texts(key: string): string[] {
    const value = this.#get(key);
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
      throw this.#wrong(key, 'a list of strings');
    }
    return value;
  }

  /** A list of numbers as long as the vocabulary, or null when the file has none. */
  numbers(key: string, length: number): ArrayLike<number> | null {
    const value = this.#get(key) ?? null;
    if (value === null) return null;
    const list = ArrayBuffer.isView(value) && !(value instanceof DataView) ? (value as unknown as number[]) : value;
    if (!Array.isArray(list) && !ArrayBuffer.isView(list)) throw this.#wrong(key, 'a list of numbers');
    const items = list as ArrayLike<unknown>;
    const isNumber = (value: unknown) => typeof value === 'number' || typeof value === 'bigint';
    const areNumbers = ArrayBuffer.isView(items) || Array.prototype.every.call(items, isNumber);
    const numbers = areNumbers ? Array.from(items, Number) : [];
    if (numbers.length !== length || !numbers.every(Number.isFinite)) {
      throw this.#wrong(key, `a list of ${length} numbers, one a token`);
    }
    return numbers;
  }

  /** The text of the token that this key names by its id, or null. */
  token(key: string, tokens: readonly string[]): string | null {
    const value = this.#get(key) ?? null;
    if (value === null) return null;
    if (!Number.isInteger(typeof value === 'bigint' ? Number(value) : value))
      throw this.#wrong(key, 'the id of a token');
    // an id outside the vocabulary is ignored, as by llama.cpp; the configuration's notes name it
    return tokens[Number(value)] ?? null;
  }
}
