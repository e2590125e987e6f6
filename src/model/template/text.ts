import type { Budget } from './budget.ts';

/** Stretches [start, end) of a text, as a flat, ascending list of pairs. */
export type Spans = readonly number[];

const NONE: Spans = [];
const SURROGATE = /[\ud800-\udfff]/;

/**
 * A string of a template, which knows which of its characters came from the caller: `spans`, in UTF-16 units. Lengths and places
 * of the template language count code points, as Python's do.
 */
export class Str {
  readonly text: string;
  readonly spans: Spans;
  /** Whether it is marked as safe HTML (`|safe`, `|escape`). */
  readonly markup: boolean;
  #offsets: Uint32Array | null | undefined;

  constructor(text: string, spans: Spans = NONE, markup = false) {
    this.text = text;
    this.spans = spans;
    this.markup = markup;
  }

  static caller(text: string): Str {
    return new Str(text, text === '' ? NONE : [0, text.length]);
  }

  get fromCaller(): boolean {
    return this.spans.length > 0;
  }

  /** Where each code point starts, in UTF-16 units, and where the last one ends; null where each is one unit. */
  offsets(work: Budget): Uint32Array | null {
    if (this.#offsets === undefined) {
      work.text(this.text.length);
      this.#offsets = SURROGATE.test(this.text) ? offsetsOf(work, this.text) : null;
    }
    return this.#offsets;
  }

  /** Code points. */
  size(work: Budget): number {
    const offsets = this.offsets(work);
    return offsets === null ? this.text.length : offsets.length - 1;
  }

  /** The UTF-16 place of a code point's place. */
  unit(work: Budget, point: number): number {
    return this.offsets(work)?.[point] ?? point;
  }

  /** The code point place of a UTF-16 place. */
  point(work: Budget, unit: number): number {
    if (this.offsets(work) === null) return unit;
    return new Str(this.text.slice(0, unit)).size(work);
  }

  /** From one UTF-16 place to another. */
  cut(start: number, end = this.text.length): Str {
    if (start <= 0 && end >= this.text.length) return this;
    if (end <= start) return EMPTY;
    const spans = this.spans.length === 0 ? NONE : clip(this.spans, start, end);
    return new Str(this.text.slice(start, end), spans, this.markup);
  }

  /** The code point at a place, which must be within. */
  at(work: Budget, point: number): Str {
    return this.cut(this.unit(work, point), this.unit(work, point + 1));
  }

  /** This text with another one behind it. */
  plus(work: Budget, other: Str): Str {
    work.fits(this.text.length + other.text.length);
    work.step(1 + (this.spans.length + other.spans.length) / 8);
    if (other.spans.length === 0) return new Str(this.text + other.text, this.spans);
    const spans = this.spans.slice();
    const offset = this.text.length;
    for (let i = 0; i < other.spans.length; i++) {
      const place = other.spans[i]! + offset;
      if (i === 0 && spans.at(-1) === place) spans.pop();
      else spans.push(place);
    }
    return new Str(this.text + other.text, spans);
  }

  /** Another text made of all of this one: exact where the length is the same, else wholly the caller's if any of it was. */
  changed(text: string): Str {
    if (this.spans.length === 0) return new Str(text, NONE, this.markup);
    if (text.length === this.text.length) return new Str(text, this.spans, this.markup);
    return new Str(text, text === '' ? NONE : [0, text.length], this.markup);
  }

  marked(markup: boolean): Str {
    return markup === this.markup ? this : new Str(this.text, this.spans, markup);
  }
}

export const EMPTY = new Str('');

function offsetsOf(work: Budget, text: string): Uint32Array {
  work.elements(text.length / 4);
  const offsets = new Uint32Array(text.length + 1);
  let count = 0;
  let unit = 0;
  for (const character of text) {
    offsets[count++] = unit;
    unit += character.length;
  }
  offsets[count] = unit;
  return offsets.subarray(0, count + 1);
}

function clip(spans: Spans, start: number, end: number): Spans {
  // the first stretch that ends after the start, by halving
  let low = 0;
  let high = spans.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[2 * middle + 1]! > start) high = middle;
    else low = middle + 1;
  }
  const kept: number[] = [];
  for (let i = 2 * low; i < spans.length && spans[i]! < end; i += 2) {
    kept.push(Math.max(spans[i]!, start) - start, Math.min(spans[i + 1]!, end) - start);
  }
  return kept;
}

/** Puts texts together and pays for what it takes. */
export class TextBuilder {
  readonly #work: Budget;
  #text = '';
  readonly #spans: number[] = [];

  constructor(work: Budget) {
    this.#work = work;
  }

  get length(): number {
    return this.#text.length;
  }

  push(piece: Str | string): this {
    const text = typeof piece === 'string' ? piece : piece.text;
    if (text === '') return this;
    const offset = this.#text.length;
    this.#work.text(text.length);
    this.#text += text;
    this.#work.fits(this.#text.length);
    if (typeof piece === 'string' || piece.spans.length === 0) return this;
    this.#work.step(piece.spans.length / 8);
    for (let i = 0; i < piece.spans.length; i += 2) {
      const start = piece.spans[i]! + offset;
      if (this.#spans.at(-1) === start) this.#spans.pop();
      else this.#spans.push(start);
      this.#spans.push(piece.spans[i + 1]! + offset);
    }
    return this;
  }

  done(): Str {
    return this.#text === '' ? EMPTY : new Str(this.#text, this.#spans.length === 0 ? NONE : this.#spans.slice());
  }
}
