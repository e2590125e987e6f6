import { EspalierError } from '../../errors.ts';
import type { AddedToken, Guard, PlaceOf } from './added-tokens.ts';
import { AddedTokenFinder } from './added-tokens.ts';
import type { Normalizer, Piece } from './normalizers.ts';
import { PlainParts } from './plain-parts.ts';
import { type PreTokenizer, part } from './pre-tokenizers.ts';
import type { WordModel } from './vocabulary.ts';

export interface EncoderParts {
  readonly added: readonly AddedToken[];
  readonly normalizer: Normalizer | null;
  readonly steps: readonly PreTokenizer[];
  readonly model: WordModel;
}

/**
 * From a text to ids, in the order of Hugging Face's tokenizers: added tokens are found in the text as it is; what stands
 * between them is normalised; those that are looked for in normalised text are found there; the rest is cut into words by the
 * pre-tokenizer, and each word is written in tokens by the model. It goes through a text once, piece by piece.
 */
export class Encoder {
  readonly #normalizer: Normalizer | null;
  readonly #raw: AddedTokenFinder | null;
  readonly #normalized: AddedTokenFinder | null;
  /** The tokens of `#normalized`, and what finds them in the text before it is normalised. */
  readonly #later: readonly AddedToken[];
  #unnormalized: AddedTokenFinder | null = null;
  readonly #words: (piece: Piece) => void;
  /** How added tokens that are looked for in normalised text look there, by id. */
  readonly normalizedTexts: ReadonlyMap<number, string>;
  readonly #model: WordModel;
  readonly #added: readonly AddedToken[];
  /** For texts with plain parts, by what is guarded. A vocabulary may have such tokens among its words, and a normalizer write their texts. */
  readonly #plainModels = new WeakMap<ReadonlySet<number>, WordModel>();
  #current: WordModel;
  #out: number[] = [];
  #limit = Number.POSITIVE_INFINITY;

  constructor({ added, normalizer, steps, model }: EncoderParts) {
    this.#normalizer = normalizer;
    const { raw, normalized, texts } = AddedTokenFinder.forTokens(added, normalizer);
    this.#raw = raw;
    this.#normalized = normalized;
    this.normalizedTexts = texts;
    this.#later = added.filter((token) => token.normalized);
    this.#added = added;
    this.#model = model;
    this.#current = model;
    const word = ({ text }: Piece): void => {
      this.#current.encode(text, this.#out);
      this.#checkLimit();
    };
    this.#words = steps.reduceRight<(piece: Piece) => void>((next, step) => (piece) => step(piece, next), word);
  }

  /**
   * The ids of a well-formed text.
   * @param plain the parts in which special tokens are not looked for
   * @param limit most ids: more are E_CONTEXT_LENGTH, as soon as that is certain
   */
  encode(text: string, plain: PlainParts, limit: number): number[] {
    this.#out = [];
    this.#limit = limit;
    const between = (start: number, end: number) => this.#part(text, start, end, plain);
    if (text === '') return [];
    this.#current = this.#modelFor(plain);
    if (this.#raw === null) between(0, text.length);
    else this.#raw.each(text, plain.guard(0), this.#token, between);
    const ids = this.#out;
    this.#out = [];
    return ids;
  }

  #modelFor(plain: PlainParts): WordModel {
    if (plain === PlainParts.none) return this.#model;
    const { guarded } = plain;
    let model = this.#plainModels.get(guarded);
    if (model === undefined) {
      // not those of one character, which may have no other token
      const longer = this.#added.filter(({ id, content }) => guarded.has(id) && Array.from(content).length > 1);
      model = this.#model.without(new Set(longer.map(({ id }) => id)));
      this.#plainModels.set(guarded, model);
    }
    return model;
  }

  readonly #token = (id: number): void => {
    this.#out.push(id);
    this.#checkLimit();
  };

  #checkLimit(): void {
    if (this.#out.length > this.#limit) throw tooLong(this.#limit);
  }

  /** What stands between added tokens. */
  #part(text: string, start: number, end: number, plain: PlainParts): void {
    const leading = start > 0 ? -1 : text.codePointAt(0)! > 0xffff ? 2 : 1;
    const raw = { text: text.slice(start, end), leading };
    const piece = this.#normalizer?.(raw) ?? raw;
    if (piece.text === '') return;
    const finder = this.#normalized;
    if (finder === null) {
      this.#words(part(piece, 0, piece.text.length));
      return;
    }
    let guard: Guard | null = null;
    const isGuarded = () => this.#later.some(({ id }) => plain.guarded.has(id));
    if (plain.place(start, end) !== 'outside' && isGuarded()) {
      const places = this.#normalizedPlaces(raw.text, piece.text, plain.guard(start)!.place);
      if (places === null) {
        // the two do not tell which is which: each part by itself
        for (const [from, to] of plain.split(start, end)) this.#part(text, from, to, plain);
        return;
      }
      guard = { ids: plain.guarded, place: places };
    }
    finder.each(piece.text, guard, this.#token, (from, to) => this.#words(part(piece, from, to)));
  }

  /**
   * Which tokens of the normalised text lie in plain parts: the first of them is the first of the text before, and so on. Null
   * when the two texts do not have the same tokens in the same order, unless all of the text is plain.
   */
  #normalizedPlaces(raw: string, normalized: string, placeOf: PlaceOf): PlaceOf | null {
    if (placeOf(0, raw.length) === 'inside') return () => 'inside';
    const before: { id: number; start: number; end: number }[] = [];
    const after: typeof before = [];
    const collect = (list: typeof before) => (id: number, start: number, end: number) => list.push({ id, start, end });
    this.#unnormalized ??= new AddedTokenFinder(
      this.#later,
      this.#later.map(({ content }) => content),
    );
    this.#unnormalized.each(raw, null, collect(before), () => {});
    this.#normalized!.each(normalized, null, collect(after), () => {});
    if (before.length !== after.length || before.some(({ id }, i) => id !== after[i]!.id)) return null;
    const outside = new Set(
      after.filter((_, i) => placeOf(before[i]!.start, before[i]!.end) === 'outside').map((m) => m.start),
    );
    return (start) => (outside.has(start) ? 'outside' : 'inside');
  }
}

export function tooLong(limit: number, atLeast = limit + 1): EspalierError {
  return new EspalierError(
    'E_CONTEXT_LENGTH',
    `The text is at least ${atLeast} tokens long; there is room for ${limit}.`,
    'Shorten it.',
  );
}
