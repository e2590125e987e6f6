/** What the caller gives to a template, as values of it. Texts become the caller's, unless told otherwise. */
import { EspalierError } from '../../errors.ts';
import { Str } from './text.ts';
import { Dict, Float, List, type Value } from './values.ts';

/** Lists and objects within each other. */
const DEEPEST = 200;

export class CallerValues {
  /** Characters of all texts. */
  characters = 0;
  /** Lists, objects and texts. */
  count = 0;
  readonly #plain: boolean;
  /** An object that stands in several places is one value in all of them. */
  readonly #made = new Map<object, Value>();
  readonly #open = new Set<object>();

  /** @param plain whether texts count as the caller's */
  constructor(plain: boolean) {
    this.#plain = plain;
  }

  /** @throws E_ARGUMENT for what a template has no value for, and for what holds itself */
  value(value: unknown, where: string): Value {
    switch (typeof value) {
      case 'string':
        return this.text(value);
      case 'boolean':
        return value;
      case 'number':
        return Number.isSafeInteger(value) ? value + 0 : new Float(value);
      case 'bigint':
        return Number.isSafeInteger(Number(value)) ? Number(value) : value;
      case 'undefined':
        return null;
      case 'object':
        return value === null ? null : this.#compound(value, where);
      default:
        return refuse(where, `a ${typeof value}`);
    }
  }

  text(text: string, plain = this.#plain): Str {
    this.count++;
    this.characters += text.length;
    return plain ? Str.caller(text) : new Str(text);
  }

  #compound(value: object, where: string): Value {
    const known = this.#made.get(value);
    if (known !== undefined) return known;
    if (this.#open.has(value)) refuse(where, 'something that holds itself');
    if (this.#open.size >= DEEPEST) refuse(where, `more than ${DEEPEST} lists and objects within each other`);
    this.count++;
    this.#open.add(value);
    const made = Array.isArray(value)
      ? new List(Array.from(value, (item, i) => this.value(item, `${where}[${i}]`)))
      : this.#dict(value, where);
    this.#open.delete(value);
    this.#made.set(value, made);
    return made;
  }

  #dict(value: object, where: string): Dict {
    const dict = new Dict();
    for (const [key, item] of entriesOf(value, where)) {
      if (item !== undefined) dict.set(null, this.text(key), this.value(item, `${where}.${key}`));
    }
    return dict;
  }
}

function entriesOf(value: object, where: string): Iterable<[string, unknown]> {
  if (value instanceof Map) {
    return [...value].map(([key, item]) => [
      typeof key === 'string' ? key : refuse(where, 'a key that is no text'),
      item,
    ]);
  }
  const tag = Object.prototype.toString.call(value);
  if (tag !== '[object Object]') return refuse(where, `a ${tag.slice(8, -1)}`);
  return Object.entries(value);
}

function refuse(where: string, what: string): never {
  throw new EspalierError(
    'E_ARGUMENT',
    `${where} is, or holds, ${what}, which a chat template has no value for.`,
    'Pass texts, numbers, booleans, null, lists and plain objects.',
  );
}
