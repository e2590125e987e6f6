/** Jinja2's filters of lists and mappings. Those that are generators there are ones here: they give an element when asked. */
import type { Budget } from './budget.ts';
import { type Filter, filter, getter, ignoringCase } from './filter.ts';
import { indexOf } from './numbers.ts';
import { binary, compare, equals, iterate, length, listOf, truth } from './operators.ts';
import { Str } from './text.ts';
import {
  type Arguments,
  Dict,
  hashKey,
  Iter,
  List,
  Range,
  raise,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts';

/** Looks up a filter or a test by name. @throws TemplateError */
type Find = (name: Value) => Filter;

function* pulled(work: Budget, value: Value): Generator<Value> {
  const iterator = iterate(work, value);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    work.step();
    yield next.value;
  }
}

/** `reversed(value)` @throws TypeError for what has no order backwards */
function backwards(work: Budget, value: Value): Iterator<Value> {
  if (value instanceof Undefined) return [][Symbol.iterator]();
  if (value instanceof List || value instanceof Tuple || value instanceof Str || value instanceof Range) {
    return listOf(work, value).reverse()[Symbol.iterator]();
  }
  if (value instanceof Dict || value instanceof View) return listOf(work, value).reverse()[Symbol.iterator]();
  return raise('TypeError', `'${typeName(value)}' object is not reversible`);
}

function reverse(work: Budget, value: Value): Value {
  if (value instanceof Str) {
    const points = listOf(work, value).reverse() as Str[];
    return points.reduce((text, point) => text.plus(work, point), new Str(''));
  }
  if (value instanceof Iter) return new List(listOf(work, value).reverse());
  return new Iter(backwards(work, value), 'list_reverseiterator');
}

const byOrder = (work: Budget, reversed: boolean) => (a: readonly [Value, Value], b: readonly [Value, Value]) =>
  reversed ? compare(work, b[0], a[0]) : compare(work, a[0], b[0]);

function sorted(work: Budget, items: readonly Value[], key: (item: Value) => Value, reversed = false): Value[] {
  work.elements(items.length);
  return items
    .map((item) => [key(item), item] as const)
    .sort(byOrder(work, reversed))
    .map(([, item]) => item);
}

function sort(work: Budget, value: Value, reversed: Value, caseSensitive: Value, attribute: Value): List {
  const attributes = attribute instanceof Str ? attribute.text.split(',').map((part) => new Str(part)) : [attribute];
  const getters = attributes.map((part) => getter(work, part));
  const fold = folding(work, caseSensitive);
  const key = (item: Value) => new List(getters.map((get) => fold(get(item))));
  return new List(sorted(work, listOf(work, value), key, truth(reversed)));
}

const folding = (work: Budget, caseSensitive: Value) => (value: Value) =>
  truth(caseSensitive) ? value : ignoringCase(work, value);

function dictsort(work: Budget, value: Value, caseSensitive: Value, by: Value, reversed: Value): List {
  if (!(value instanceof Dict)) return raise('TypeError', `dictsort takes a mapping, not ${typeName(value)}`);
  const place = by instanceof Str ? ['key', 'value'].indexOf(by.text) : -1;
  if (place < 0) raise('TypeError', 'You can only sort by either "key" or "value"');
  const fold = folding(work, caseSensitive);
  const key = (item: Value) => fold((item as Tuple).items[place]!);
  return new List(sorted(work, listOf(work, new View(value, 'items')), key, truth(reversed)));
}

function groupby(work: Budget, value: Value, attribute: Value, otherwise: Value, caseSensitive: Value): List {
  const get = getter(work, attribute, otherwise);
  const fold = folding(work, caseSensitive);
  const key = (item: Value) => fold(get(item));
  const groups: { readonly key: Value; readonly items: Value[] }[] = [];
  for (const item of sorted(work, listOf(work, value), key)) {
    const own = key(item);
    const last = groups.at(-1);
    if (last && equals(work, last.key, own)) last.items.push(item);
    else groups.push({ key: own, items: [item] });
  }
  return new List(groups.map(({ items }) => new Tuple([get(items[0]!), new List(items)], ['grouper', 'list'])));
}

function* unique(work: Budget, value: Value, caseSensitive: Value, attribute: Value): Generator<Value> {
  const get = getter(work, attribute);
  const fold = folding(work, caseSensitive);
  const seen = new Set<string>();
  for (const item of pulled(work, value)) {
    const own = fold(get(item));
    const key = hashKey(work, own);
    if (seen.has(key)) continue;
    seen.add(key);
    yield item;
  }
}

function extreme(work: Budget, value: Value, caseSensitive: Value, attribute: Value, sign: 1 | -1): Value {
  const get = getter(work, attribute);
  const fold = folding(work, caseSensitive);
  let best: { readonly key: Value; readonly item: Value } | null = null;
  for (const item of pulled(work, value)) {
    const key = fold(get(item));
    if (best === null || compare(work, key, best.key) * sign < 0) best = { key, item };
  }
  return best === null ? new Undefined('No aggregated item, sequence was empty.') : best.item;
}

function* batch(work: Budget, value: Value, linecount: Value, fill: Value): Generator<Value> {
  let line: Value[] = [];
  for (const item of pulled(work, value)) {
    if (equals(work, line.length, linecount)) {
      yield new List(line);
      line = [];
    }
    line.push(item);
  }
  if (line.length === 0) return;
  if (fill !== null) {
    const missing = Math.max(0, indexOf(linecount) - line.length);
    work.elements(missing);
    for (let i = 0; i < missing; i++) line.push(fill);
  }
  yield new List(line);
}

function* slices(work: Budget, value: Value, count: Value, fill: Value): Generator<Value> {
  const items = listOf(work, value);
  const parts = indexOf(count);
  if (parts === 0) raise('ZeroDivisionError', 'integer division or modulo by zero');
  const size = Math.floor(items.length / parts);
  const larger = items.length - size * parts;
  let offset = 0;
  for (let i = 0; i < parts; i++) {
    work.step();
    const start = offset + i * size;
    if (i < larger) offset++;
    const part = items.slice(start, offset + (i + 1) * size);
    if (fill !== null && i >= larger) part.push(fill);
    yield new List(part);
  }
}

function* mapped(work: Budget, { positional, named }: Arguments, find: Find): Generator<Value> {
  const [value, name, ...args] = positional;
  if (value === undefined) raise('TypeError', 'map() lacks its value');
  if (!truth(value)) return;
  let apply: (item: Value) => Value;
  if (name === undefined && named.has('attribute')) {
    for (const key of named.keys()) {
      if (key !== 'attribute' && key !== 'default') raise('TypeError', `Unexpected keyword argument '${key}'`);
    }
    apply = getter(work, named.get('attribute')!, named.get('default') ?? null);
  } else {
    if (name === undefined) raise('TypeError', 'map requires a filter argument');
    apply = (item) => find(name)(work, { positional: [item, ...args], named });
  }
  for (const item of pulled(work, value)) yield apply(item);
}

interface Selection {
  readonly keep: boolean;
  readonly byAttribute: boolean;
}

function* selected(work: Budget, { positional, named }: Arguments, find: Find, how: Selection): Generator<Value> {
  const [value, ...rest] = positional;
  if (value === undefined) raise('TypeError', 'select() lacks its value');
  if (!truth(value)) return;
  if (how.byAttribute && rest.length === 0) raise('TypeError', 'Missing parameter for attribute name');
  const get = how.byAttribute ? getter(work, rest.shift()!) : (item: Value) => item;
  const [name, ...args] = rest;
  const test = (item: Value): boolean =>
    truth(name === undefined ? item : find(name)(work, { positional: [item, ...args], named }));
  for (const item of pulled(work, value)) if (test(get(item)) === how.keep) yield item;
}

function sum(work: Budget, value: Value, attribute: Value, start: Value): Value {
  if (start instanceof Str) raise('TypeError', "sum() can't sum strings");
  const get = getter(work, attribute);
  let total: Value = start;
  for (const item of pulled(work, value)) total = binary(work, '+', total, get(item));
  return total;
}

function* items(work: Budget, value: Value): Generator<Value> {
  if (value instanceof Undefined) return;
  if (!(value instanceof Dict)) raise('TypeError', 'Can only get item pairs from a mapping.');
  yield* pulled(work, new View(value, 'items'));
}

const firstOf = (iterator: Iterator<Value>, which: string): Value => {
  const next = iterator.next();
  return next.done ? new Undefined(`No ${which} item, sequence was empty.`) : next.value;
};

export function listFilters(findFilter: Find, findTest: Find): readonly (readonly [string, Filter])[] {
  const select = (name: string, how: Selection): readonly [string, Filter] => [
    name,
    (work, args) => new Iter(selected(work, args, findTest, how)),
  ];
  const best = (name: string, sign: 1 | -1) =>
    filter(name, 'value, case_sensitive=False, attribute=None', (work, [value, sensitive, attribute]) =>
      extreme(work, value!, sensitive!, attribute!, sign),
    );
  return [
    ...['length', 'count'].map((name) => filter(name, 'obj, /', (work, [value]) => length(work, value!))),
    filter('first', 'seq', (work, [value]) => firstOf(iterate(work, value!), 'first')),
    filter('last', 'seq', (work, [value]) => firstOf(backwards(work, value!), 'last')),
    filter('list', 'value', (work, [value]) => new List(listOf(work, value!))),
    filter('reverse', 'value', (work, [value]) => reverse(work, value!)),
    filter(
      'sort',
      'value, reverse=False, case_sensitive=False, attribute=None',
      (work, [value, reversed, sensitive, attribute]) => sort(work, value!, reversed!, sensitive!, attribute!),
    ),
    filter(
      'unique',
      'value, case_sensitive=False, attribute=None',
      (work, [value, sensitive, attribute]) => new Iter(unique(work, value!, sensitive!, attribute!)),
    ),
    best('min', 1),
    best('max', -1),
    filter('sum', 'iterable, attribute=None, start=0', (work, [value, attribute, start]) =>
      sum(work, value!, attribute!, start!),
    ),
    filter(
      'batch',
      'value, linecount, fill_with=None',
      (work, [value, count, fill]) => new Iter(batch(work, value!, count!, fill!)),
    ),
    filter(
      'slice',
      'value, slices, fill_with=None',
      (work, [value, count, fill]) => new Iter(slices(work, value!, count!, fill!)),
    ),
    filter(
      'groupby',
      'value, attribute, default=None, case_sensitive=False',
      (work, [value, attribute, otherwise, sensitive]) => groupby(work, value!, attribute!, otherwise!, sensitive!),
    ),
    filter(
      'dictsort',
      "value, case_sensitive=False, by='key', reverse=False",
      (work, [value, sensitive, by, reversed]) => dictsort(work, value!, sensitive!, by!, reversed!),
    ),
    filter('items', 'value', (work, [value]) => new Iter(items(work, value!))),
    ['map', (work, args) => new Iter(mapped(work, args, findFilter))],
    select('select', { keep: true, byAttribute: false }),
    select('reject', { keep: false, byAttribute: false }),
    select('selectattr', { keep: true, byAttribute: true }),
    select('rejectattr', { keep: false, byAttribute: true }),
  ];
}
