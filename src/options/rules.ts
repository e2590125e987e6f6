import { EspalierError } from '../errors.ts';
import { shown } from './shown.ts';

/** What one option takes, whatever its type. */
export interface AnyRule {
  /** To stand behind "Give": `an integer from 1 to 256`. */
  readonly takes: string;
  /** The value; of lists and plain objects a copy. @throws E_ARGUMENT that calls it `name` */
  check(value: unknown, name: string): unknown;
  /** What a text of the command line says; the text itself where it says nothing that fits. Absent: it cannot be said there. */
  readonly parse?: (text: string) => unknown;
  /** What it is when it is not given, where that is one value. */
  readonly default?: unknown;
  /** Of an object: its own options. */
  readonly fields?: Readonly<Record<string, AnyRule>>;
  /** Whether it takes lists. */
  readonly list?: boolean;
}

/** What one option of type T takes. */
export interface Rule<T> extends AnyRule {
  check(value: unknown, name: string): T;
  /** Never there: a rule of a wider or a narrower type is no rule of this one. */
  readonly type?: (value: T) => T;
}

type AnyFunction = (...args: never[]) => unknown;

/**
 * A rule for each member of a type of options. The type is written by hand, since editors show its comments and declaration files keep
 * them; `satisfies Schema<…>` makes the compiler refuse a schema that lacks a member, has another one, or takes another type.
 */
export type Schema<T> = {
  readonly [K in keyof T]-?: Exclude<T[K], undefined> extends AnyFunction
    ? Rule<AnyFunction>
    : Rule<Exclude<T[K], undefined>>;
};

export function refusal(name: string, value: unknown, takes: string): EspalierError {
  return new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, `Give ${takes}.`);
}

function ruleOf<T>(takes: string, accepts: (value: unknown) => boolean, parse?: (text: string) => unknown): Rule<T> {
  return {
    takes,
    check: (value, name) => {
      if (accepts(value)) return value as T;
      throw refusal(name, value, takes);
    },
    ...(parse && { parse }),
  };
}

/** A number as a shell gives it. */
const numberIn = (text: string): unknown => (text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text));

const range = (least: number, most: number): string => {
  if (most === Number.MAX_SAFE_INTEGER) return least === 0 ? 'from 0 to 2^53 - 1' : `of at least ${least}`;
  return `from ${least} to ${most}`;
};

/** @param takes where a range of numbers does not say enough */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER, takes?: string): Rule<number> {
  return ruleOf(
    takes ?? `an integer ${range(least, most)}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
    numberIn,
  );
}

/** Finite numbers. */
export function real(
  least: number,
  most: number = Number.MAX_VALUE,
  { above = false, takes }: { readonly above?: boolean; readonly takes?: string } = {},
): Rule<number> {
  const bounded = most !== Number.MAX_VALUE;
  const from = above ? `above ${least}${bounded ? ' and up' : ''}` : `from ${least}${bounded ? '' : ' on'}`;
  return ruleOf(
    takes ?? `a number ${from}${bounded ? ` to ${most}` : ''}`,
    (value) => typeof value === 'number' && (above ? value > least : value >= least) && value <= most,
    numberIn,
  );
}

export const truth: Rule<boolean> = ruleOf('true or false', (value) => typeof value === 'boolean');

/** A text of at least one character. */
export const words: Rule<string> = ruleOf(
  'a text of at least one character',
  (value) => typeof value === 'string' && value !== '',
  (text) => text,
);

/** A text, which may be empty. @param takes what the text says */
export function text(takes = 'a text'): Rule<string> {
  return ruleOf(
    takes,
    (value) => typeof value === 'string',
    (given) => given,
  );
}

export function oneOf<const T extends readonly string[]>(...names: T): Rule<T[number]> {
  const quoted = names.map((name) => `"${name}"`);
  const takes = quoted.length === 1 ? quoted[0]! : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)!}`;
  return ruleOf(
    takes,
    (value) => typeof value === 'string' && names.includes(value),
    (given) => given,
  );
}

export const nothing: Rule<null> = ruleOf('null', (value) => value === null);

/** An address of a script or a folder. */
export const place: Rule<string | URL> = ruleOf(
  'an address, as text or URL',
  (value) => (typeof value === 'string' && value !== '') || value instanceof URL,
  (given) => given,
);

/** A folder of this machine. */
export const folder: Rule<string | URL> = ruleOf(
  'a path, or a file URL',
  (value) =>
    value instanceof URL
      ? value.protocol === 'file:'
      : typeof value === 'string' && value !== '' && !/^(?!file:)[a-z][a-z0-9+.-]+:\/\//i.test(value),
  (given) => given,
);

export const callback: Rule<AnyFunction> = ruleOf('a function', (value) => typeof value === 'function');

/** By its looks: another realm's, or one of a library, does as well. */
export const signal: Rule<AbortSignal> = ruleOf(
  'an AbortSignal, such as the `signal` of an AbortController',
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    typeof (value as AbortSignal).aborted === 'boolean' &&
    typeof (value as AbortSignal).addEventListener === 'function' &&
    typeof (value as AbortSignal).removeEventListener === 'function',
);

/** An object that is recognised by its looks, and handed on as it is. */
export function like<T>(takes: string, accepts: (value: object) => boolean): Rule<T> {
  return ruleOf(takes, (value) => typeof value === 'object' && value !== null && accepts(value));
}

/** A list without holes. */
export function listOf<T>(item: Rule<T>, least = 0): Rule<readonly T[]> {
  const takes = `a list${least > 0 ? ` of at least ${least}` : ''} (of each: ${item.takes})`;
  return {
    takes,
    list: true,
    check: (value, name) => {
      if (!Array.isArray(value) || value.length < least) throw refusal(name, value, takes);
      return Array.from({ length: value.length }, (_, i) => {
        if (!(i in value)) throw new EspalierError('E_ARGUMENT', `${name}[${i}] is missing.`, `Give ${takes}.`);
        return item.check(value[i], `${name}[${i}]`);
      });
    },
    ...(item.parse && { parse: item.parse }),
  };
}

/** Whatever there is: somebody else looks at it. */
export const anything: Rule<unknown> = ruleOf('anything', () => true);

/** An object whose members have names of their own, and each what one rule takes. */
export function byName<T>(item: Rule<T>): Rule<Readonly<Record<string, T>>> {
  const takes = `an object (of each member: ${item.takes})`;
  return {
    takes,
    check: (value, name) => {
      if (!isOptions(value)) throw refusal(name, value, takes);
      return Object.fromEntries(Object.entries(value).map(([own, one]) => [own, item.check(one, `${name}.${own}`)]));
    },
  };
}

/** What one of several rules takes. Of a list or an object, what is wrong inside it is said. */
export function either<A, B>(a: Rule<A>, b: Rule<B>): Rule<A | B>;
export function either<A, B, C>(a: Rule<A>, b: Rule<B>, c: Rule<C>): Rule<A | B | C>;
export function either(...rules: readonly AnyRule[]): Rule<unknown> {
  const takes = rules.map((rule) => rule.takes).join(', or ');
  const parses = rules.filter((rule) => rule.parse !== undefined);
  return {
    takes,
    list: rules.some((rule) => rule.list),
    check: (value, name) => {
      for (const rule of rules) {
        try {
          return rule.check(value, name);
        } catch (error) {
          const inside = Array.isArray(value) ? rule.list : rule.fields !== undefined && isOptions(value);
          if (inside) throw error;
        }
      }
      throw refusal(name, value, takes);
    },
    ...(parses.length > 0 && {
      parse: (given: string) => {
        for (const rule of parses) {
          const value = rule.parse!(given);
          if (typeof value !== 'string') return value;
        }
        return given;
      },
    }),
  };
}

/** The same, of which `value` is the default. */
export function defaulting<T, D extends T>(rule: Rule<T>, value: D): Rule<T> & { readonly default: D } {
  return { ...rule, default: value };
}

/** An object that options may stand in: no list, no Map, no AbortSignal. */
export function isOptions(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.prototype.toString.call(value) === '[object Object]'
  );
}
