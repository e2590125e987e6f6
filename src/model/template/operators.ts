/** Truth, equality, order, membership, iteration and places of values, as Python has them. */
import type { Budget } from './budget.ts';
import { compareText } from './characters.ts';
import { escapeHtml } from './html.ts';
import { arithmetic, compareNumbers, indexOf, type Operator } from './numbers.ts';
import { percentFormat } from './percent-format.ts';
import { firstPlace } from './search.ts';
import { EMPTY, Str, TextBuilder } from './text.ts';
import {
  Dict,
  Float,
  Iter,
  isInteger,
  isNumber,
  List,
  Range,
  raise,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts';

export function truth(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === 'number') return value !== 0;
  if (typeof value === 'bigint') return true;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Str) return value.text !== '';
  if (value instanceof List || value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.entries.size > 0;
  if (value instanceof View) return value.dict.entries.size > 0;
  if (value instanceof Range) return value.length > 0;
  return true;
}

/** `len(value)` */
export function length(work: Budget, value: Value): number {
  if (value instanceof Str) return value.size(work);
  if (value instanceof List || value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.entries.size;
  if (value instanceof View) return value.dict.entries.size;
  if (value instanceof Range) return value.length;
  if (value instanceof Undefined) return 0;
  if (value instanceof Thing) {
    const own = value.typeName === 'LoopContext' ? value.attribute('length') : undefined;
    if (typeof own === 'number') return own;
  }
  return raise('TypeError', `object of type '${typeName(value)}' has no len()`);
}

/** Goes through a value once, as `for` does. An iterator is not closed by leaving it early. @throws TypeError */
export function iterate(work: Budget, value: Value): Iterator<Value> {
  if (value instanceof List) return value.items[Symbol.iterator]();
  if (value instanceof Tuple) return value.items[Symbol.iterator]();
  if (value instanceof Iter) return value.iterator;
  if (value instanceof Str) return characters(work, value);
  if (value instanceof Dict) return viewed(value, 'keys');
  if (value instanceof View) return viewed(value.dict, value.kind);
  if (value instanceof Range) return ranged(value);
  if (value instanceof Undefined) return [][Symbol.iterator]();
  if (value instanceof Thing && value.typeName === 'LoopContext')
    raise('Unsupported', 'going through the loop variable itself is not computed');
  return raise('TypeError', `'${typeName(value)}' object is not iterable`);
}

/** All elements as an array of its own. */
export function listOf(work: Budget, value: Value): Value[] {
  if (value instanceof List || value instanceof Tuple) {
    work.elements(value.items.length);
    return value.items.slice();
  }
  const items: Value[] = [];
  const iterator = iterate(work, value);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    work.step();
    items.push(next.value);
  }
  return items;
}

function* characters(work: Budget, value: Str): Generator<Value> {
  const count = value.size(work);
  for (let i = 0; i < count; i++) {
    work.step(2);
    yield value.at(work, i).marked(false);
  }
}

function* viewed(dict: Dict, kind: View['kind']): Generator<Value> {
  for (const [key, value] of dict.entries.values()) {
    yield kind === 'keys' ? key : kind === 'values' ? value : new Tuple([key, value]);
  }
}

function* ranged(range: Range): Generator<Value> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

export function equals(work: Budget, a: Value, b: Value): boolean {
  work.step();
  if (a === b) return true;
  if (a instanceof Str) {
    if (!(b instanceof Str) || a.text.length !== b.text.length) return false;
    work.text(a.text.length);
    return a.text === b.text;
  }
  if (isNumber(a)) return isNumber(b) && compareNumbers(a, b) === 0;
  if (a instanceof Undefined) return b instanceof Undefined;
  if ((a instanceof List && b instanceof List) || (a instanceof Tuple && b instanceof Tuple)) {
    return a.items.length === b.items.length && a.items.every((item, i) => equals(work, item, b.items[i]!));
  }
  if (a instanceof Dict && b instanceof Dict) return equalDicts(work, a, b);
  if (a instanceof Range && b instanceof Range) {
    if (a.length !== b.length) return false;
    return a.length === 0 || (a.start === b.start && (a.length === 1 || a.step === b.step));
  }
  if (a instanceof View && b instanceof View && a.kind !== 'values' && b.kind !== 'values') {
    raise('Unsupported', 'comparing views of dicts is not computed');
  }
  return false;
}

function equalDicts(work: Budget, a: Dict, b: Dict): boolean {
  if (a.entries.size !== b.entries.size) return false;
  for (const [hash, [, value]] of a.entries) {
    const other = b.entries.get(hash);
    if (other === undefined || !equals(work, value, other[1])) return false;
  }
  return true;
}

/** Negative, 0 or positive; NaN where no order holds (floats that are NaN). @throws TypeError */
export function compare(work: Budget, a: Value, b: Value, operator = '<'): number {
  work.step();
  if (isNumber(a) && isNumber(b)) return compareNumbers(a, b);
  if (a instanceof Str && b instanceof Str) {
    work.text(Math.min(a.text.length, b.text.length));
    return compareText(a.text, b.text);
  }
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if ((a instanceof List && b instanceof List) || (a instanceof Tuple && b instanceof Tuple)) {
    const shared = Math.min(a.items.length, b.items.length);
    for (let i = 0; i < shared; i++) {
      const [x, y] = [a.items[i]!, b.items[i]!];
      if (!equals(work, x, y)) return compare(work, x, y, operator);
    }
    return a.items.length - b.items.length;
  }
  return raise('TypeError', `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/** `item in container` */
export function contains(work: Budget, container: Value, item: Value): boolean {
  if (container instanceof Str) {
    if (!(item instanceof Str)) raise('TypeError', `'in <string>' needs a string, not ${typeName(item)}`);
    work.text(container.text.length);
    return firstPlace(container.text, item.text) >= 0;
  }
  if (container instanceof Dict) return container.get(work, item) !== undefined;
  if (container instanceof View && container.kind === 'keys') return container.dict.get(work, item) !== undefined;
  if (container instanceof Range && isInteger(item)) {
    const offset = Number(item) - container.start;
    return offset % container.step === 0 && offset / container.step >= 0 && offset / container.step < container.length;
  }
  const iterator = iterate(work, container);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    if (equals(work, next.value, item)) return true;
  }
  return false;
}

export function binary(work: Budget, operator: Operator, a: Value, b: Value): Value {
  if (isNumber(a) && isNumber(b)) return arithmetic(work, operator, a, b);
  if (operator === '+') {
    if (a instanceof Str && b instanceof Str) return concatenate(work, a, b);
    if (a instanceof List && b instanceof List) {
      work.elements(a.items.length + b.items.length);
      return new List([...a.items, ...b.items]);
    }
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple([...a.items, ...b.items]);
  }
  if (operator === '*') {
    const times = isInteger(b) ? repeat(work, a, indexOf(b)) : isInteger(a) ? repeat(work, b, indexOf(a)) : undefined;
    if (times !== undefined) return times;
  }
  if (operator === '%' && a instanceof Str) return percentFormat(work, a, b);
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if (a instanceof View || b instanceof View) raise('Unsupported', 'sets are not computed');
  return raise('TypeError', `unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`);
}

function concatenate(work: Budget, a: Str, b: Str): Str {
  if (!a.markup && !b.markup) return a.plus(work, b);
  return escapeHtml(work, a).plus(work, escapeHtml(work, b)).marked(true);
}

function repeat(work: Budget, value: Value, count: number): Value | undefined {
  const times = Math.max(0, count);
  if (value instanceof Str) {
    if (times === 0 || value.text === '') return EMPTY.marked(value.markup);
    work.text(value.text.length * times);
    if (!value.fromCaller) return new Str(value.text.repeat(times), value.spans, value.markup);
    return new Str(value.text.repeat(times), [0, value.text.length * times], value.markup);
  }
  if (!(value instanceof List || value instanceof Tuple)) return undefined;
  work.elements(value.items.length * times);
  const items: Value[] = [];
  if (value.items.length > 0) for (let i = 0; i < times; i++) for (const item of value.items) items.push(item);
  return value instanceof List ? new List(items) : new Tuple(items);
}

/** The element at a place that may be negative, or undefined where there is none. */
export function elementAt(work: Budget, value: Str | List | Tuple | Range, index: number): Value | undefined {
  const count = length(work, value);
  const place = index < 0 ? index + count : index;
  if (place < 0 || place >= count) return undefined;
  if (value instanceof Str) return value.at(work, place);
  return value instanceof Range ? value.at(place) : value.items[place];
}

/** `value[start:stop:step]` @throws TypeError, ValueError */
export function slice(work: Budget, value: Value, start: Value, stop: Value, step: Value): Value {
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Str || value instanceof List || value instanceof Tuple || value instanceof Range)) {
    raise('TypeError', `'${typeName(value)}' object cannot be cut`);
  }
  if (value instanceof Str) work.step(value.spans.length / 8);
  const by = step === null ? 1 : indexOf(step);
  if (by === 0) raise('ValueError', 'slice step cannot be zero');
  const count = length(work, value);
  const bound = (index: Value, otherwise: number) => {
    if (index === null) return otherwise;
    const place = indexOf(index);
    const low = by < 0 ? -1 : 0;
    const high = by < 0 ? count - 1 : count;
    return place < 0 ? Math.max(place + count, low) : Math.min(place, high);
  };
  const from = bound(start, by < 0 ? count - 1 : 0);
  const to = bound(stop, by < 0 ? -1 : count);
  if (value instanceof Range)
    return new Range(value.start + from * value.step, value.start + to * value.step, value.step * by);
  if (value instanceof Str && by === 1) return value.cut(value.unit(work, from), value.unit(work, Math.max(from, to)));
  const places: number[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) places.push(i);
  work.elements(places.length);
  if (value instanceof List) return new List(places.map((place) => value.items[place]!));
  if (value instanceof Tuple) return new Tuple(places.map((place) => value.items[place]!));
  const builder = new TextBuilder(work);
  for (const place of places) builder.push(value.at(work, place));
  return builder.done().marked(value.markup);
}
