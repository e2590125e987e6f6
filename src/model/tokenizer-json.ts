import { EspalierError } from '../errors.ts';

/** A JSON object whose members have not been looked at yet. */
export type Json = Record<string, unknown>;

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** A tokenizer.json that has been checked and put into the words that the text library computes exactly. */
export interface CheckedTokenizer {
  /** For the text library: exact pre-tokenizers, no post-processor, no decoder (both are done here). */
  readonly json: Json;
  readonly ids: ReadonlyMap<string, number>;
  /** By id; holes where the vocabulary has none. */
  readonly texts: readonly (string | undefined)[];
  readonly added: ReadonlyMap<number, AddedToken>;
  /** Ids put before and after a text when special tokens are asked for. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export function invalidTokenizer(message: string, hint?: string, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_TOKENIZER_INVALID',
    message,
    hint ?? 'Use the tokenizer.json that was published with the model.',
    cause === undefined ? undefined : { cause },
  );
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws E_TOKENIZER_INVALID when `value` is not an object. */
export function asObject(value: unknown, what: string): Json {
  if (!isObject(value)) throw invalidTokenizer(`${what} is not an object.`);
  return value;
}

function asArray(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw invalidTokenizer(`${what} is not an array.`);
  return value;
}

function asId(value: unknown, what: string): number {
  // 2^24: far above any real vocabulary, low enough that a table over all ids is harmless
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 1 << 24) {
    throw invalidTokenizer(`${what} is not a token id: ${String(value)}.`);
  }
  return value;
}

/**
 * Checks the shape of a tokenizer.json and rewrites what the text library would compute differently from Hugging Face's.
 *
 * @throws E_TOKENIZER_INVALID with the first thing that is wrong or not supported
 */
export function checkTokenizerJson(source: unknown, config: Json): CheckedTokenizer {
  const json = asObject(source, 'The tokenizer');
  const model = asObject(json['model'], 'The tokenizer’s model');
  const { ids, merges } = readVocabulary(model);
  const texts: (string | undefined)[] = [];
  for (const [text, id] of ids) texts[id] = text;

  const added = readAddedTokens(json, config, ids);
  const addedById = new Map<number, AddedToken>();
  for (const entry of added) {
    const id = entry['id'] as number;
    const content = entry['content'] as string;
    addedById.set(id, { id, content, special: entry['special'] === true });
    ids.set(content, id);
    texts[id] = content;
  }
  const { before, after } = readPostProcessor(json['post_processor'] ?? null, ids);
  return {
    json: {
      ...json,
      added_tokens: added,
      // not null: without a normalizer the library looks for `normalized` added tokens too early
      normalizer: exactNormalizer(json['normalizer'] ?? { type: 'Sequence', normalizers: [] }),
      pre_tokenizer: exactPreTokenizer(json['pre_tokenizer'] ?? null),
      post_processor: null,
      decoder: null,
      model: { ...model, type: modelType(model), merges },
    },
    ids,
    texts,
    added: addedById,
    before,
    after,
  };
}

function modelType(model: Json): 'BPE' | 'Unigram' {
  const type = model['type'] ?? ('merges' in model ? 'BPE' : undefined);
  if (type === 'BPE' || type === 'Unigram') return type;
  throw invalidTokenizer(`The tokenizer’s model is ${String(type)}; only BPE and Unigram are read.`);
}

function readVocabulary(model: Json): { ids: Map<string, number>; merges: [string, string][] } {
  if (modelType(model) === 'Unigram') {
    const entries = asArray(model['vocab'], 'The vocabulary').map((entry, id): [string, number] => {
      if (Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'number') return [entry[0], id];
      throw invalidTokenizer(`Entry ${id} of the vocabulary is not a text with a score.`);
    });
    return { ids: new Map(entries), merges: [] };
  }
  if (model['continuing_subword_prefix'] || model['end_of_word_suffix']) {
    throw invalidTokenizer('BPE with a prefix or suffix for pieces of a word is not supported.');
  }
  const ids = new Map<string, number>();
  for (const [text, id] of Object.entries(asObject(model['vocab'], 'The vocabulary'))) {
    ids.set(text, asId(id, `The id of ${JSON.stringify(text)}`));
  }
  if (ids.size === 0) throw invalidTokenizer('The vocabulary is empty.');
  const merges = asArray(model['merges'], 'The list of merges').map((merge, rank): [string, string] => {
    const [left, right, ...rest] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    if (typeof left !== 'string' || typeof right !== 'string' || rest.length > 0) {
      throw invalidTokenizer(`Merge ${rank} is not a pair of texts.`);
    }
    if (!ids.has(left) || !ids.has(right) || !ids.has(left + right)) {
      throw invalidTokenizer(`Merge ${rank} (${left} ${right}) names a token that is not in the vocabulary.`);
    }
    return [left, right];
  });
  return { ids, merges };
}

/** The added tokens of tokenizer.json, and those that only tokenizer_config.json declares, as Hugging Face does. */
function readAddedTokens(json: Json, config: Json, ids: ReadonlyMap<string, number>): Json[] {
  const byContent = new Map<string, Json>();
  const add = (entry: Json, id: unknown, what: string) => {
    const content = entry['content'];
    if (typeof content !== 'string' || content === '') throw invalidTokenizer(`${what} has no text.`);
    if (entry['single_word'] === true) {
      throw invalidTokenizer(`${what} (${content}) only matches whole words, which is not supported.`);
    }
    if (!byContent.has(content)) byContent.set(content, { ...entry, content, id: asId(id, `The id of ${content}`) });
  };
  asArray(json['added_tokens'] ?? [], 'The list of added tokens').forEach((entry, i) => {
    const token = asObject(entry, `Added token ${i}`);
    add(token, token['id'], `Added token ${i}`);
  });
  const declared = config['added_tokens_decoder'];
  if (isObject(declared)) {
    for (const [id, entry] of Object.entries(declared)) {
      add(asObject(entry, `Added token ${id}`), Number(id), `Added token ${id}`);
    }
  }
  const named = ['bos_token', 'eos_token', 'pad_token', 'unk_token'].map((key) => contentOf(config[key]));
  // a list, or by name in the newest files
  const more = Object.values(config['additional_special_tokens'] ?? config['extra_special_tokens'] ?? []).map(
    contentOf,
  );
  for (const content of [...named, ...more]) {
    if (content === null) continue;
    const known = byContent.get(content);
    const id = ids.get(content);
    if (known !== undefined) known['special'] = true;
    else if (id !== undefined) add({ content, special: true }, id, 'A special token');
  }
  return [...byContent.values()];
}

/** The text of a token that a configuration gives as a string or as an object with `content`; null when it gives none. */
export function contentOf(value: unknown): string | null {
  const content = isObject(value) ? value['content'] : value;
  return typeof content === 'string' && content !== '' ? content : null;
}

function readPostProcessor(
  node: unknown,
  ids: ReadonlyMap<string, number>,
): { before: readonly number[]; after: readonly number[] } {
  if (node === null) return { before: [], after: [] };
  const { type, ...options } = asObject(node, 'The post-processor');
  switch (type) {
    case 'ByteLevel': // moves offsets only
      return { before: [], after: [] };
    case 'Sequence':
      return asArray(options['processors'], 'The list of post-processors')
        .map((inner) => readPostProcessor(inner, ids))
        .reduce((all, next) => ({
          before: [...next.before, ...all.before],
          after: [...all.after, ...next.after],
        }));
    case 'BertProcessing':
    case 'RobertaProcessing':
      return {
        before: [asId(asArray(options['cls'], 'cls')[1], 'cls')],
        after: [asId(asArray(options['sep'], 'sep')[1], 'sep')],
      };
    case 'TemplateProcessing': {
      const special = asObject(options['special_tokens'] ?? {}, 'The template’s special tokens');
      const before: number[] = [];
      const after: number[] = [];
      let target = before;
      for (const item of asArray(options['single'], 'The template')) {
        const token = asObject(item, 'A part of the template')['SpecialToken'];
        if (token === undefined) {
          target = after;
          continue;
        }
        const name = String(asObject(token, 'A special token of the template')['id']);
        const entry = special[name];
        const found = isObject(entry) ? entry['ids'] : [ids.get(name)];
        for (const id of asArray(found, name)) target.push(asId(id, `The template’s ${name}`));
      }
      return { before, after };
    }
    default:
      throw invalidTokenizer(`The post-processor ${String(type)} is not supported.`);
  }
}

function exactNormalizer(node: unknown): unknown {
  const { type, ...options } = asObject(node, 'The normalizer');
  if (type === 'Sequence') {
    return { type, normalizers: asArray(options['normalizers'], 'The list of normalizers').map(exactNormalizer) };
  }
  // the library replaces with String.replaceAll, in which a dollar sign has a meaning
  if (type === 'Replace') return { type, ...options, content: String(options['content']).replaceAll('$', '$$$$') };
  return { type, ...options };
}

const BYTE_LEVEL = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const PUNCTUATION = '[\\p{P}!-/:-@\\[-`{-~]';

/**
 * The library's `Split` translates a regular expression to what Hugging Face's engine matches; its other pre-tokenizers use
 * JavaScript's own `\s`, `\d` and `\w`, which differ (U+0085, U+FEFF, digits of other scripts). So each of them becomes a
 * `Split`.
 */
function exactPreTokenizer(node: unknown): unknown {
  if (node === null) return null;
  const { type, ...options } = asObject(node, 'The pre-tokenizer');
  switch (type) {
    case 'Sequence':
      return sequence(asArray(options['pretokenizers'], 'The list of pre-tokenizers').map(exactPreTokenizer));
    case 'ByteLevel': {
      // not the empty match `\A(?! )`: V8 finds it between the halves of a surrogate pair too
      const prefix = { type: 'Replace', pattern: { Regex: '\\A([^ ])' }, content: ' $1' };
      return sequence([
        ...(options['add_prefix_space'] === true ? [prefix] : []),
        ...(options['use_regex'] === false ? [] : [split(BYTE_LEVEL)]),
        { type, add_prefix_space: false, use_regex: false },
      ]);
    }
    case 'Digits':
      return split(options['individual_digits'] === true ? '\\p{N}' : '\\p{N}+');
    case 'Whitespace':
      return { ...split('\\w+|[^\\w\\s]+', 'Removed'), invert: true };
    case 'WhitespaceSplit':
      return split('\\s+', 'Removed');
    case 'Punctuation': {
      const behavior = options['behavior'] ?? 'Isolated';
      if (behavior === 'Contiguous') return split(`${PUNCTUATION}+`);
      return split(PUNCTUATION, supportedBehavior(behavior));
    }
    case 'Metaspace': {
      const mark = String(options['replacement'] ?? '\u2581');
      const scheme = options['prepend_scheme'] ?? (options['add_prefix_space'] === false ? 'never' : 'always');
      const replace = { type, replacement: mark, prepend_scheme: scheme };
      // the library never splits here
      return options['split'] === false ? replace : sequence([replace, split(`${mark}[^${mark}]*`)]);
    }
    case 'Split': {
      const behavior = supportedBehavior(options['behavior']);
      const pattern = asObject(options['pattern'], 'The pattern of a pre-tokenizer');
      if (typeof pattern['Regex'] !== 'string' && typeof pattern['String'] !== 'string') {
        throw invalidTokenizer('The pattern of a pre-tokenizer is neither a text nor a regular expression.');
      }
      return { type, pattern, behavior, invert: behavior === 'Removed' && options['invert'] === true };
    }
    default:
      throw invalidTokenizer(`The pre-tokenizer ${String(type)} is not supported.`);
  }
}

function supportedBehavior(behavior: unknown): string {
  if (behavior === 'Isolated' || behavior === 'Removed') return behavior;
  throw invalidTokenizer(`A pre-tokenizer splits with the behaviour ${String(behavior)}, which is not supported.`);
}

function sequence(pretokenizers: unknown[]): Json {
  return { type: 'Sequence', pretokenizers };
}

function split(regex: string, behavior = 'Isolated'): Json {
  return { type: 'Split', pattern: { Regex: regex }, behavior, invert: false };
}
