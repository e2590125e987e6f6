/** What filters are, and the attribute getters that many of them take. */
import { getItem } from './attributes.ts';
import type { Budget } from './budget.ts';
import { isDigit } from './characters.ts';
import { type Bound, signature } from './signature.ts';
import { Str } from './text.ts';
import { type Arguments, raise, Undefined, type Value } from './values.ts';

/** The filtered value is the first positional argument. */
export type Filter = (work: Budget, args: Arguments) => Value;

/** What stands behind `|`, and behind `is`. */
export const FILTERS = new Map<string, Filter>();
export const TESTS = new Map<string, Filter>();

export function filter(
  name: string,
  parameters: string,
  run: (work: Budget, args: Bound) => Value,
): readonly [string, Filter] {
  const bind = signature(name, parameters);
  return [name, (work, args) => run(work, bind(args))];
}

/** One that Jinja2 has and we refuse, because its result is random or needs more of Python than a chat template does. */
export function refused(name: string): readonly [string, Filter] {
  return [name, () => raise('Unsupported', `the filter '${name}' is not computed`)];
}

/** `a.b.0` as a way through a value; `otherwise` stands in for what is undefined on the way. */
export function getter(work: Budget, attribute: Value, otherwise: Value = null): (item: Value) => Value {
  const parts = partsOf(attribute);
  return (item) => {
    for (const part of parts) {
      item = getItem(work, item, part);
      if (otherwise !== null && item instanceof Undefined) item = otherwise;
    }
    return item;
  };
}

function partsOf(attribute: Value): Value[] {
  if (attribute === null) return [];
  if (!(attribute instanceof Str)) return [attribute];
  return attribute.text.split('.').map((part) => {
    if (!isDigit(part)) return new Str(part);
    return /^\d{1,15}$/.test(part) ? Number(part) : raise('ValueError', `'${part}' is no place`);
  });
}

/** Texts in lower case, other values as they are: how sorting and grouping compare unless told otherwise. */
export function ignoringCase(work: Budget, value: Value): Value {
  if (!(value instanceof Str)) return value;
  work.step(1 + value.text.length / 4);
  return value.changed(value.text.toLowerCase());
}
