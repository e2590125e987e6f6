/** What a template computes with: Python's values, as far as Jinja2's sandbox lets a template reach them. */
import type { Budget } from './budget.ts';
import { Str } from './text.ts';

/** Integers are numbers as far as those are exact, then bigints; never both. Floats have a class of their own: 2.0 is not 2. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | Float
  | Str
  | List
  | Tuple
  | Dict
  | View
  | Range
  | Iter
  | Undefined
  | Thing;

/** Exceptions of Python that something in Jinja2 catches, or that tell what went wrong. */
export type Kind =
  | 'TypeError'
  | 'ValueError'
  | 'LookupError'
  | 'OverflowError'
  | 'ZeroDivisionError'
  | 'UndefinedError'
  | 'SecurityError'
  | 'TemplateError'
  | 'Unsupported'; // what Python computes and we do not: refused rather than guessed

export class PythonError extends Error {
  override readonly name = 'PythonError';
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(message);
    this.kind = kind;
  }
}

export function raise(kind: Kind, message: string): never {
  throw new PythonError(kind, message);
}

export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class List {
  readonly items: Value[];
  constructor(items: Value[]) {
    this.items = items;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  /** Of a named tuple. */
  readonly names: readonly string[];
  constructor(items: readonly Value[], names: readonly string[] = []) {
    this.items = items;
    this.names = names;
  }
}

/** Keys are those of `hashKey`: 1, 1.0 and True are the same one. */
export class Dict {
  readonly entries = new Map<string, [key: Value, value: Value]>();

  static of(work: Budget, pairs: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict();
    for (const [key, value] of pairs) dict.set(work, key, value);
    return dict;
  }

  get(work: Budget, key: Value): Value | undefined {
    return this.entries.get(hashKey(work, key))?.[1];
  }

  /** A value of a key that is a text. */
  named(key: string): Value | undefined {
    return this.entries.get(`s${key}`)?.[1];
  }

  /** @param work null for keys that the program gives: texts that are paid for */
  set(work: Budget | null, key: Value, value: Value): void {
    const hash = hashKey(work, key);
    const entry = this.entries.get(hash);
    if (entry) entry[1] = value;
    else this.entries.set(hash, [key, value]);
  }
}

export class View {
  readonly dict: Dict;
  readonly kind: 'keys' | 'values' | 'items';
  constructor(dict: Dict, kind: 'keys' | 'values' | 'items') {
    this.dict = dict;
    this.kind = kind;
  }
}

/** Jinja2's sandbox allows no longer ones. */
export const LONGEST_RANGE = 100_000;

export class Range {
  readonly start: number;
  readonly stop: number;
  readonly step: number;
  readonly length: number;
  constructor(start: number, stop: number, step: number) {
    this.start = start;
    this.stop = stop;
    this.step = step;
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }
  at(index: number): number {
    return this.start + index * this.step;
  }
}

/** A generator or another iterator: can be gone through once, has no length, and prints as an address in memory. */
export class Iter {
  readonly iterator: Iterator<Value>;
  readonly typeName: string;
  constructor(iterator: Iterator<Value>, typeName = 'generator') {
    this.iterator = iterator;
    this.typeName = typeName;
  }
}

/** A name or attribute that is not there: prints as nothing, is false and empty; anything else raises. */
export class Undefined {
  readonly message: string;
  readonly kind: 'UndefinedError' | 'SecurityError';
  constructor(message: string, kind: 'UndefinedError' | 'SecurityError' = 'UndefinedError') {
    this.message = message;
    this.kind = kind;
  }

  fail(): never {
    raise(this.kind, this.message);
  }
}

/** Arguments of a call. */
export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/** Functions, macros, loops, namespaces: things with attributes of their own, compared by identity. */
export abstract class Thing {
  abstract readonly typeName: string;
  /** What it prints as, or null where Python prints an address in memory. */
  print(_work: Budget): Str | null {
    return null;
  }
  attribute(_name: string): Value | undefined {
    return undefined;
  }
  element(_key: Value): Value | undefined {
    return undefined;
  }
  call?(work: Budget, args: Arguments): Value;
}

export class Native extends Thing {
  readonly typeName: string = 'builtin_function_or_method';
  readonly name: string;
  readonly #run: (work: Budget, args: Arguments) => Value;

  constructor(name: string, run: (work: Budget, args: Arguments) => Value) {
    super();
    this.name = name;
    this.#run = run;
  }

  override call(work: Budget, args: Arguments): Value {
    return this.#run(work, args);
  }
}

export class Namespace extends Thing {
  readonly typeName = 'Namespace';
  readonly attributes: Dict;

  constructor(attributes: Dict) {
    super();
    for (const [key] of attributes.entries.values()) checkAttribute(key);
    this.attributes = attributes;
  }

  override attribute(name: string): Value | undefined {
    return this.attributes.named(name);
  }

  assign(name: string, value: Value): void {
    checkAttribute(new Str(name));
    this.attributes.set(null, new Str(name), value);
  }
}

function checkAttribute(key: Value): void {
  if (key instanceof Str && key.text.startsWith('_'))
    raise('SecurityError', `a namespace cannot hold '${key.text}', which starts with an underscore`);
}

export const isInteger = (value: Value): value is number | bigint | boolean =>
  typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';

export const isNumber = (value: Value): value is number | bigint | boolean | Float =>
  isInteger(value) || value instanceof Float;

/** The name of Python's type, for messages. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number' || typeof value === 'bigint') return 'int';
  if (value instanceof Float) return 'float';
  if (value instanceof Str) return value.markup ? 'Markup' : 'str';
  if (value instanceof List) return 'list';
  if (value instanceof Tuple) return 'tuple';
  if (value instanceof Dict) return 'dict';
  if (value instanceof View) return `dict_${value.kind}`;
  if (value instanceof Range) return 'range';
  if (value instanceof Undefined) return 'Undefined';
  return value.typeName;
}

const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** Equal for values that are equal as keys. @throws TypeError for lists and dicts */
export function hashKey(work: Budget | null, value: Value): string {
  if (value instanceof Str) {
    work?.text(value.text.length);
    return `s${value.text}`;
  }
  if (value === null) return 'N';
  if (typeof value === 'boolean') return value ? 'n1' : 'n0';
  if (typeof value === 'number' || typeof value === 'bigint') return `n${value}`;
  if (value instanceof Float) {
    return Number.isInteger(value.value) ? `n${BigInt(value.value)}` : `f${value.value}`;
  }
  if (value instanceof Tuple) {
    let joined = 't';
    for (const item of value.items) {
      const key = hashKey(work, item);
      work?.text(key.length); // a tuple may hold another one many times over, on many levels
      joined += `${key.length}:${key}`;
    }
    return joined;
  }
  if (value instanceof Undefined) return 'u';
  if (value instanceof List || value instanceof Dict || (value instanceof View && value.kind !== 'values')) {
    raise('TypeError', `unhashable type: '${typeName(value)}'`);
  }
  if (value instanceof Range)
    return `r${value.length}:${value.length ? value.start : 0}:${value.length > 1 ? value.step : 0}`;
  let identity = identities.get(value);
  if (identity === undefined) identities.set(value, (identity = ++lastIdentity));
  return `o${identity}`;
}
