/** Parameters of the functions, filters and methods that a template can call, bound as Python binds them. */
import { Str } from './text.ts';
import { type Arguments, Float, raise, type Value } from './values.ts';

interface Parameter {
  readonly name: string;
  readonly positionalOnly: boolean;
  /** Undefined where the caller must give it. */
  readonly otherwise: Value | undefined;
}

/** What a call gave, by the order of the parameters. */
export type Bound = readonly Value[];

const LITERALS: Readonly<Record<string, Value>> = { None: null, True: true, False: false };

/** Reads `sep=None, maxsplit=-1`, written as in Python; parameters before `/` have no names for the caller. */
function parse(text: string): Parameter[] {
  const parts = text === '' ? [] : text.split(', ');
  const slash = parts.indexOf('/');
  return parts
    .filter((part) => part !== '/')
    .map((part, i) => {
      const [name, literal] = part.split('=') as [string, string | undefined];
      return { name, positionalOnly: i < slash, otherwise: literal === undefined ? undefined : literalOf(literal) };
    });
}

function literalOf(text: string): Value {
  if (text in LITERALS) return LITERALS[text]!;
  if (text.startsWith("'")) return new Str(text.slice(1, -1));
  return text.includes('.') ? new Float(Number(text)) : Number(text);
}

/** A function that checks a call's arguments and puts them into the order of the parameters. */
export function signature(name: string, text: string): (args: Arguments) => Bound {
  const parameters = parse(text);
  return ({ positional, named }) => {
    if (positional.length > parameters.length) {
      raise('TypeError', `${name}() takes at most ${parameters.length} arguments (${positional.length} given)`);
    }
    for (const key of named.keys()) {
      const place = parameters.findIndex((parameter) => parameter.name === key && !parameter.positionalOnly);
      if (place < 0) raise('TypeError', `${name}() got an unexpected keyword argument '${key}'`);
      if (place < positional.length) raise('TypeError', `${name}() got multiple values for argument '${key}'`);
    }
    return parameters.map((parameter, i) => {
      const given = i < positional.length ? positional[i] : named.get(parameter.name);
      const value = given === undefined ? parameter.otherwise : given;
      return value === undefined ? raise('TypeError', `${name}() lacks the argument '${parameter.name}'`) : value;
    });
  };
}
