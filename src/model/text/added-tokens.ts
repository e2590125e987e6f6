import { asArray, asFlag, asId, asObject, asText, invalidTokenizer, isObject, type Json, quoted } from './checks.ts';
import type { Normalizer } from './normalizers.ts';
import { Trie } from './trie.ts';
import { isSpace, isWord } from './unicode.ts';
import type { Vocabulary } from './vocabulary.ts';

/** A token that is found in the text itself, before the model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out when decoding, and not found in text that is plain. */
  readonly special: boolean;
  /** Whether spaces before or after it are part of it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Whether it is found only where no character of a word stands beside it. */
  readonly singleWord: boolean;
  /** Whether it is looked for in the normalised text. */
  readonly normalized: boolean;
}

const MAX_LENGTH = 4096;
const NAMED = ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'cls_token', 'sep_token', 'mask_token'];

/** The text of a token that a configuration gives as a string or as an object with `content`; null when it gives none. */
export function namedToken(value: unknown, what: string): string | null {
  const content = isObject(value) ? value['content'] : value;
  if (content === undefined || content === null || content === '' || content === false) return null;
  return asText(content, what);
}

/**
 * The added tokens of tokenizer.json and those that only tokenizer_config.json declares, with the ids that the reference gives
 * them: the vocabulary's for a text that it has, else the next one after all others.
 *
 * @param vocabulary the model's
 * @param warn is told of ids that the file contradicts
 */
export function readAddedTokens(
  json: Json,
  config: Json,
  vocabulary: Pick<Vocabulary, 'ids' | 'size' | 'texts'>,
  warn: (message: string) => void,
): AddedToken[] {
  const byContent = new Map<string, AddedToken>();
  let highest = -1;
  const add = (entry: Json, what: string, declaredId: unknown): void => {
    const content = asText(entry['content'], `The text of ${what}`);
    if (content === '') throw invalidTokenizer(`${what} has no text.`);
    if (content.length > MAX_LENGTH) {
      throw invalidTokenizer(`${what} is ${content.length} characters long; ${MAX_LENGTH} are allowed.`);
    }
    const special = asFlag(entry['special'], `${what}: special`, false);
    const known = byContent.get(content)?.id ?? vocabulary.ids.get(content);
    const id = known ?? Math.max(vocabulary.size, highest + 1);
    if (known === undefined && vocabulary.texts[id] !== undefined) {
      throw invalidTokenizer(`The vocabulary has holes, and the id ${id} of the token ${quoted(content)} is taken.`);
    }
    if (declaredId !== undefined && asId(declaredId, `The id of ${what}`) !== id) {
      warn(`The token ${quoted(content)} is declared with id ${String(declaredId)} and has id ${id}.`);
    }
    highest = Math.max(highest, id);
    byContent.set(content, {
      id: asId(id, `The id of ${what}`),
      content,
      special,
      lstrip: asFlag(entry['lstrip'], `${what}: lstrip`, false),
      rstrip: asFlag(entry['rstrip'], `${what}: rstrip`, false),
      singleWord: asFlag(entry['single_word'], `${what}: single_word`, false),
      normalized: asFlag(entry['normalized'], `${what}: normalized`, !special),
    });
  };
  asArray(json['added_tokens'] ?? [], 'The list of added tokens').forEach((entry, i) => {
    const token = asObject(entry, `Added token ${i}`);
    add(token, `added token ${i}`, asId(token['id'], `The id of added token ${i}`));
  });
  const declared = asObject(config['added_tokens_decoder'] ?? {}, 'added_tokens_decoder');
  for (const [id, entry] of Object.entries(declared)) {
    const token = asObject(entry, `Added token ${id}`);
    if (!byContent.has(String(token['content']))) add(token, `added token ${id}`, Number(id));
  }
  for (const content of specialTexts(config)) {
    const known = byContent.get(content);
    if (known !== undefined) byContent.set(content, { ...known, special: true });
    else if (vocabulary.ids.has(content)) add({ content, special: true }, 'a special token', undefined);
  }
  return [...byContent.values()];
}

/** The texts that tokenizer_config.json names as special. */
function specialTexts(config: Json): string[] {
  const named = NAMED.map((key) => namedToken(config[key], `tokenizer_config.json: ${key}`));
  const key = 'additional_special_tokens' in config ? 'additional_special_tokens' : 'extra_special_tokens';
  const more = config[key] ?? [];
  // a list, or by name in the newest files
  if (!Array.isArray(more) && !isObject(more)) throw invalidTokenizer(`tokenizer_config.json: ${key} is not a list.`);
  named.push(...Object.values(more).map((value) => namedToken(value, `tokenizer_config.json: ${key}`)));
  return named.filter((content) => content !== null);
}

/** How a stretch of text lies to the parts that are plain: wholly outside of them, wholly inside, or across a border. */
export type Place = 'outside' | 'inside' | 'across';
/** Where the text from `start` to `end` lies. */
export type PlaceOf = (start: number, end: number) => Place;

/** Tokens that are found only outside of what is plain. */
export interface Guard {
  readonly ids: ReadonlySet<number>;
  readonly place: PlaceOf;
}

/**
 * Finds added tokens in a text: the leftmost, of those that begin there the longest. A match that is not wanted (no whole word,
 * a guarded token in plain text) is passed over as a whole, as in the reference.
 */
export class AddedTokenFinder {
  readonly #trie = new Trie();
  readonly #tokens: readonly AddedToken[];
  readonly #starts = new Uint8Array(65536);

  /** @param texts what to look for, by token; of equal ones the first counts */
  constructor(tokens: readonly AddedToken[], texts: readonly string[]) {
    this.#tokens = tokens;
    const seen = new Set<string>();
    texts.forEach((text, i) => {
      if (text === '' || seen.has(text)) return;
      seen.add(text);
      this.#trie.insert(text, i);
      this.#starts[text.charCodeAt(0)] = 1;
    });
  }

  /** The finders for the text as it is, and for the normalised text; null where there is nothing to find. */
  static forTokens(
    tokens: readonly AddedToken[],
    normalizer: Normalizer | null,
  ): { raw: AddedTokenFinder | null; normalized: AddedTokenFinder | null; texts: Map<number, string> } {
    const raw = tokens.filter((token) => !token.normalized);
    // the normalizer may make one text of several; the reference then finds special ones first
    const ofKind = (special: boolean) => tokens.filter((token) => token.normalized && token.special === special);
    const later = [...ofKind(true), ...ofKind(false)];
    const normal = later.map(({ content }) => {
      const { text } = normalizer?.({ text: content, leading: 0 }) ?? { text: content };
      if (text === '') throw invalidTokenizer(`The normalizer leaves nothing of the added token ${quoted(content)}.`);
      return text;
    });
    return {
      raw:
        raw.length === 0
          ? null
          : new AddedTokenFinder(
              raw,
              raw.map(({ content }) => content),
            ),
      normalized: later.length === 0 ? null : new AddedTokenFinder(later, normal),
      texts: new Map(later.map(({ id }, i) => [id, normal[i]!])),
    };
  }

  /**
   * Cuts a text: `onToken` and `onText` are called in order, a token with the stretch where its own text stands.
   * @throws E_TOKENIZER_INVALID when tokens overlap so much that this takes too many steps
   */
  each(
    text: string,
    guard: Guard | null,
    onToken: (id: number, start: number, end: number) => void,
    onText: (start: number, end: number) => void,
  ): void {
    const { length } = text;
    let steps = 64 * length + 10_000_000;
    let done = 0; // what stands before is cut
    let spacesFrom = 0; // the last run of spaces that was looked at
    let spacesTo = 0;
    for (let at = 0; at < length; ) {
      if (this.#starts[text.charCodeAt(at)] === 0) {
        at++;
        continue;
      }
      let found = -1;
      let end = at;
      let node = 0;
      for (let i = at; i < length; i++) {
        node = this.#trie.child(node, text.charCodeAt(i));
        if (node === 0) break;
        if (--steps < 0) {
          throw invalidTokenizer('The tokenizer’s added tokens begin alike, and finding them takes too many steps.');
        }
        const value = this.#trie.valueOf(node);
        if (value < 0) continue;
        // one that reaches across must not hide a token on the other side
        if (guard?.ids.has(this.#tokens[value]!.id) && guard.place(at, i + 1) === 'across') continue;
        found = value;
        end = i + 1;
      }
      if (found < 0) {
        at++;
        continue;
      }
      const token = this.#tokens[found]!;
      const [matchStart, matchEnd] = [at, end];
      at = end;
      if (guard?.ids.has(token.id) && guard.place(matchStart, matchEnd) !== 'outside') continue;
      if (token.singleWord && (wordBefore(text, matchStart) || wordAfter(text, matchEnd))) continue;
      let start = matchStart;
      if (token.lstrip) {
        while (start > done && isSpace(text.charCodeAt(start - 1))) start--;
        start = Math.max(start, done); // spaces that the token before has taken
      }
      if (token.rstrip) {
        if (end < spacesFrom || end > spacesTo) {
          spacesFrom = end;
          spacesTo = end;
          while (spacesTo < length && isSpace(text.charCodeAt(spacesTo))) spacesTo++;
        }
        end = spacesTo;
      }
      if (start >= end) continue; // all of it is spaces, and they are taken
      if (done < start) onText(done, start);
      onToken(token.id, matchStart, matchEnd);
      done = end;
    }
    if (done !== length) onText(done, length);
  }
}

function wordBefore(text: string, at: number): boolean {
  if (at === 0) return false;
  const unit = text.charCodeAt(at - 1);
  return isWord(unit >= 0xdc00 && unit <= 0xdfff ? text.codePointAt(at - 2)! : unit);
}

function wordAfter(text: string, at: number): boolean {
  return at < text.length && isWord(text.codePointAt(at)!);
}
