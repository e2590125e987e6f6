/** Jinja2's tests: what stands behind `is`. */
import type { Budget } from './budget.ts';
import { isLower, isUpper } from './characters.ts';
import { FILTERS, type Filter, TESTS, filter as test } from './filter.ts';
import { binary, compare, contains, equals, length } from './operators.ts';
import { toText } from './repr.ts';
import type { Bound } from './signature.ts';
import { Str } from './text.ts';
import {
  Dict,
  Float,
  Iter,
  isInteger,
  isNumber,
  List,
  PythonError,
  Range,
  raise,
  Thing,
  Tuple,
  Undefined,
  type Value,
  View,
} from './values.ts';

const one = (name: string, holds: (value: Value, work: Budget) => boolean, parameters = 'value') =>
  test(name, parameters, (work, [value]) => holds(value!, work));

/** `value % divisor == rest` */
const remainder = (work: Budget, value: Value, divisor: Value, rest: number) =>
  equals(work, binary(work, '%', value, divisor), rest);

const ordered = (names: string, holds: (order: number) => boolean) =>
  names.split(' ').map((name) => test(name, 'a, b, /', (work, [a, b]) => holds(compare(work, a!, b!, name))));

const equal = (names: string, wanted: boolean) =>
  names.split(' ').map((name) => test(name, 'a, b, /', (work, [a, b]) => equals(work, a!, b!) === wanted));

const isLoop = (value: Value) => value instanceof Thing && value.typeName === 'LoopContext';

function iterable(value: Value): boolean {
  return [Str, List, Tuple, Dict, View, Range, Iter, Undefined].some((type) => value instanceof type) || isLoop(value);
}

/** Whether it has a length and elements. */
function sequence(value: Value, work: Budget): boolean {
  if (value instanceof View) return false;
  try {
    length(work, value);
    return !isLoop(value);
  } catch (error) {
    if (error instanceof PythonError) return false;
    throw error;
  }
}

/** `is`: the same object. Python shares some equal numbers and texts and not others, so that those are refused. */
function sameAs(work: Budget, [value, other]: Bound): boolean {
  const [a, b] = [value!, other!];
  const unsure =
    (isInteger(a) && isInteger(b) && typeof a !== 'boolean' && typeof b !== 'boolean' && !isSmall(a)) ||
    [Str, Float, Tuple, Undefined].some((type) => a instanceof type && b instanceof type);
  if (unsure && equals(work, a, b)) {
    raise('Unsupported', 'whether two equal numbers, texts or tuples are one object is not computed');
  }
  return a === b;
}

/** Integers that CPython has only once. */
const isSmall = (value: number | bigint | boolean) => typeof value === 'number' && value >= -5 && value <= 256;

const isCallable = (value: Value) => value instanceof Undefined || (value instanceof Thing && value.call !== undefined);

const named = (name: string, names: ReadonlyMap<string, Filter>) =>
  one(name, (value) => {
    if (value instanceof List || value instanceof Dict) raise('TypeError', 'unhashable type');
    return value instanceof Str && names.has(value.text);
  });

const ALL: readonly (readonly [string, Filter])[] = [
  test('odd', 'value', (work, [value]) => remainder(work, value!, 2, 1)),
  test('even', 'value', (work, [value]) => remainder(work, value!, 2, 0)),
  test('divisibleby', 'value, num', (work, [value, by]) => remainder(work, value!, by!, 0)),
  one('defined', (value) => !(value instanceof Undefined)),
  one('undefined', (value) => value instanceof Undefined),
  named('filter', FILTERS),
  named('test', TESTS),
  one('none', (value) => value === null),
  one('boolean', (value) => typeof value === 'boolean'),
  one('false', (value) => value === false),
  one('true', (value) => value === true),
  one('integer', (value) => isInteger(value) && typeof value !== 'boolean'),
  one('float', (value) => value instanceof Float),
  one('lower', (value, work) => isLower(toText(work, value).text)),
  one('upper', (value, work) => isUpper(toText(work, value).text)),
  one('string', (value) => value instanceof Str),
  one('mapping', (value) => value instanceof Dict),
  one('number', isNumber),
  one('sequence', sequence),
  one('iterable', iterable),
  one('callable', isCallable, 'obj, /'),
  test('sameas', 'value, other', sameAs),
  one('escaped', (value) => value instanceof Str && value.markup),
  test('in', 'value, seq', (work, [value, container]) => contains(work, container!, value!)),
  ...equal('== eq equalto', true),
  ...equal('!= ne', false),
  ...ordered('> gt greaterthan', (order) => order > 0),
  ...ordered('>= ge', (order) => order >= 0),
  ...ordered('< lt lessthan', (order) => order < 0),
  ...ordered('<= le', (order) => order <= 0),
];

/** Fills `TESTS`. */
export function defineTests(): void {
  for (const [name, run] of ALL) TESTS.set(name, run);
}
