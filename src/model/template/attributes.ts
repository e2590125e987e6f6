/** `value.name` and `value[key]`, as Jinja2's immutable sandbox lets templates reach them. */
import type { Reach } from './brace-format.ts';
import type { Budget } from './budget.ts';
import { indexOf } from './numbers.ts';
import { elementAt, equals } from './operators.ts';
import { type Bound, signature } from './signature.ts';
import { strMethod } from './str-methods.ts';
import { Str } from './text.ts';
import {
  Dict,
  Float,
  isInteger,
  isNumber,
  List,
  Native,
  PythonError,
  Range,
  raise,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts';

type Run<Self> = (work: Budget, self: Self, args: Bound) => Value;
type Table<Self> = ReadonlyMap<string, (self: Self) => Native>;

function table<Self>(methods: Readonly<Record<string, readonly [parameters: string, run: Run<Self>]>>): Table<Self> {
  return new Map(
    Object.entries(methods).map(([name, [parameters, run]]) => {
      const bind = signature(name, parameters);
      return [name, (self: Self) => new Native(name, (work, args) => run(work, self, bind(args)))];
    }),
  );
}

const DICT: Table<Dict> = table<Dict>({
  get: [
    'key, default=None, /',
    (work, dict, [key, otherwise]) => {
      const value = dict.get(work, key!);
      return value === undefined ? otherwise! : value;
    },
  ],
  keys: ['', (_, dict) => new View(dict, 'keys')],
  values: ['', (_, dict) => new View(dict, 'values')],
  items: ['', (_, dict) => new View(dict, 'items')],
  copy: [
    '',
    (work, dict) => {
      work.elements(dict.entries.size);
      return Dict.of(work, dict.entries.values());
    },
  ],
});

const LIST: Table<List> = table<List>({
  copy: [
    '',
    (work, list) => {
      work.elements(list.items.length);
      return new List(list.items.slice());
    },
  ],
});

/** Of lists, tuples and ranges. */
const SEQUENCE: Table<List | Tuple | Range> = table<List | Tuple | Range>({
  count: ['value, /', (work, self, [value]) => itemsOf(work, self).filter((item) => equals(work, item, value!)).length],
  index: [
    'value, start=0, stop=None, /',
    (work, self, [value, start, stop]) => {
      const items = itemsOf(work, self);
      const bound = (place: Value) => {
        const index = indexOf(place);
        return index < 0 ? Math.max(0, index + items.length) : index;
      };
      const end = stop === null ? items.length : Math.min(bound(stop!), items.length);
      for (let i = bound(start!); i < end; i++) if (equals(work, items[i]!, value!)) return i;
      return raise('ValueError', 'the value is not in the list');
    },
  ],
});

function itemsOf(work: Budget, self: List | Tuple | Range): readonly Value[] {
  if (!(self instanceof Range)) return self.items;
  work.elements(self.length);
  return Array.from({ length: self.length }, (_, i) => self.at(i));
}

/** Methods that change what they belong to: the sandbox does not let templates have them. */
const CHANGING: ReadonlySet<string> = new Set(
  'append clear extend insert pop popitem remove reverse setdefault sort update'.split(' '),
);
const DICT_CHANGING: ReadonlySet<string> = new Set('clear pop popitem setdefault update'.split(' '));
/** Attributes of a Python dict that the sandbox hides; other names with underscores are keys. */
const DICT_HIDDEN: ReadonlySet<string> = new Set(
  (
    'class class_getitem contains delattr delitem dir doc eq format ge getattribute getitem getstate gt hash init init_subclass ior ' +
    'iter le len lt ne new or reduce reduce_ex repr reversed ror setattr setitem sizeof str subclasshook'
  )
    .split(' ')
    .map((name) => `__${name}__`),
);
/** Attributes that Python has and we refuse, by type. */
const REFUSED: Readonly<Record<string, ReadonlySet<string>>> = {
  int: new Set('as_integer_ratio bit_count bit_length conjugate from_bytes to_bytes'.split(' ')),
  bool: new Set('as_integer_ratio bit_count bit_length conjugate from_bytes to_bytes'.split(' ')),
  float: new Set('as_integer_ratio conjugate fromhex hex'.split(' ')),
  dict: new Set(['fromkeys']),
  dict_keys: new Set(['isdisjoint', 'mapping']),
  dict_values: new Set(['mapping']),
  dict_items: new Set(['isdisjoint', 'mapping']),
  generator: new Set('close send throw gi_running gi_suspended gi_yieldfrom'.split(' ')),
};

/** For `format`, whose fields reach into values as templates do. */
const REACH: Reach = { attribute: getAttribute, item: getItem };

/** An attribute that Python's object has: undefined where it has none, an `Undefined` where the sandbox hides it. */
function own(value: Value, name: string): Value | undefined {
  if (REFUSED[typeName(value)]?.has(name)) raise('Unsupported', `${typeName(value)}.${name} is not computed`);
  if (value instanceof Str) {
    const found = strMethod(value, name);
    return found && new Native(name, (work, args) => found(work, value, args, REACH));
  }
  if (value instanceof Dict) {
    if (DICT_CHANGING.has(name) || DICT_HIDDEN.has(name)) return hidden(value, name);
    return DICT.get(name)?.(value);
  }
  if (value instanceof List) {
    if (CHANGING.has(name) && name !== 'popitem' && name !== 'setdefault' && name !== 'update')
      return hidden(value, name);
    return (LIST.get(name) ?? SEQUENCE.get(name))?.(value);
  }
  if (value instanceof Tuple) {
    const place = value.names.indexOf(name);
    return place >= 0 ? value.items[place] : SEQUENCE.get(name)?.(value);
  }
  if (value instanceof Range) {
    if (name === 'start' || name === 'stop' || name === 'step') return value[name];
    return SEQUENCE.get(name)?.(value);
  }
  if (isNumber(value)) return numeric(value, name);
  if (value instanceof Thing) return name.startsWith('_') ? undefined : value.attribute(name);
  return undefined;
}

function numeric(value: number | bigint | boolean | Float, name: string): Value | undefined {
  const plain = typeof value === 'boolean' ? Number(value) : value;
  if (name === 'real') return plain;
  if (name === 'imag') return value instanceof Float ? new Float(0) : 0;
  if (value instanceof Float) {
    if (name !== 'is_integer') return undefined;
    return new Native(name, (_, args) => {
      signature(name, '')(args);
      return Number.isInteger(value.value);
    });
  }
  return name === 'numerator' ? plain : name === 'denominator' ? 1 : undefined;
}

function hidden(value: Value, name: string): Undefined {
  return new Undefined(`access to attribute '${name}' of '${typeName(value)}' object is unsafe.`, 'SecurityError');
}

/** Whether Python's object itself has the attribute: what the `attr` filter asks. */
export function ownAttribute(value: Value, name: string): Value | undefined {
  if (value instanceof Undefined) value.fail();
  return own(value, name);
}

/** `value.name`: an attribute first, then an element. @throws UndefinedError for an attribute of what is undefined */
export function getAttribute(work: Budget, value: Value, name: string): Value {
  work.step();
  if (value instanceof Undefined) value.fail();
  const found = own(value, name);
  if (found !== undefined) return found;
  const member = value instanceof Dict ? value.named(name) : undefined;
  return member === undefined ? new Undefined(`'${typeName(value)} object' has no attribute '${name}'`) : member;
}

/** `value[key]`: an element first, then an attribute. */
export function getItem(work: Budget, value: Value, key: Value): Value {
  work.step();
  if (value instanceof Undefined) value.fail();
  if (key instanceof Str && !(value instanceof Dict)) work.text(key.text.length);
  const found = element(work, value, key);
  if (found !== undefined) return found;
  if (key instanceof Str) {
    const attribute = own(value, key.text);
    if (attribute !== undefined) return attribute;
    return new Undefined(`'${typeName(value)} object' has no attribute '${key.text}'`);
  }
  return new Undefined(`'${typeName(value)} object' has no such element`);
}

function element(work: Budget, value: Value, key: Value): Value | undefined {
  if (value instanceof Dict) {
    try {
      return value.get(work, key);
    } catch (error) {
      // a list or a dict is no key: Jinja2 takes that for a missing element
      if (error instanceof PythonError && error.kind === 'TypeError') return undefined;
      throw error;
    }
  }
  if (
    (value instanceof Str || value instanceof List || value instanceof Tuple || value instanceof Range) &&
    isInteger(key)
  ) {
    return elementAt(work, value, indexOf(key));
  }
  return value instanceof Thing ? value.element(key) : undefined;
}
