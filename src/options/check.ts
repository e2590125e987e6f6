import { EspalierError } from '../errors.ts';
import { type AnyRule, isOptions, type Rule, refusal, type Schema } from './rules.ts';
import { shown } from './shown.ts';
import { nearest } from './suggest.ts';

/**
 * The options that are given, checked, as an object of their own: each is read once, lists are copied, and a member that is undefined is
 * not given. Nothing is filled in.
 *
 * @param what the function that takes them, for messages
 * @throws E_ARGUMENT for a value that is wrong, for a name that is not there, with the nearest that is, and for what is no object
 */
export function checked<T extends object>(schema: Schema<T>, options: unknown, what: string): T {
  if (options === undefined) return {} as T;
  return readable(`The options of ${what}`, () => members(schema as Fields, optionsOf(options, what), what, '') as T);
}

/** @throws E_ARGUMENT for what is no object that options may stand in */
export function optionsOf(options: unknown, what: string): Readonly<Record<string, unknown>> {
  if (isOptions(options)) return options;
  throw new EspalierError('E_ARGUMENT', `The options of ${what} are ${shown(options)}.`, 'Give an object, or none.');
}

/** Options of an object inside others. @param required members that may not be missing */
export function object<T extends object>(
  schema: Schema<T>,
  what: string,
  required: readonly (keyof T & string)[] = [],
): Rule<T> {
  const fields = schema as Fields;
  const takes = `an object with ${Object.keys(fields).join(', ')}`;
  return {
    takes,
    fields,
    check: (value, name) => {
      if (!isOptions(value)) throw refusal(name, value, takes);
      const given = members(fields, value, what, `${name}.`);
      for (const member of required) if (!(member in given)) fields[member]!.check(undefined, `${name}.${member}`);
      return given as T;
    },
  };
}

/** The same of one whose members all have to be there. */
export function complete<T extends object>(schema: Schema<T>, what: string): Rule<T> {
  return object(schema, what, Object.keys(schema) as (keyof T & string)[]);
}

/** Checked options with the defaults of their schema in the gaps. */
export function filled<T extends object, S extends Schema<T>>(schema: S, options: T): Filled<T, S> {
  const defaults = Object.entries(schema as Fields).filter(([, rule]) => 'default' in rule);
  return { ...Object.fromEntries(defaults.map(([name, rule]) => [name, rule.default])), ...options } as Filled<T, S>;
}

/** T, of which those with a default are there. */
export type Filled<T, S> = T & {
  readonly [K in keyof T as K extends keyof S
    ? S[K] extends { readonly default: unknown }
      ? K
      : never
    : never]-?: Exclude<T[K], undefined>;
};

type Fields = Readonly<Record<string, AnyRule>>;

function members(
  fields: Fields,
  options: Readonly<Record<string, unknown>>,
  what: string,
  path: string,
): Record<string, unknown> {
  for (const name in options) {
    if (Object.hasOwn(fields, name) || options[name] === undefined) continue;
    throw unknownName(`${path}${name}`, nearest(name, namesIn(fields)), `${what} takes`, Object.keys(fields));
  }
  const given: Record<string, unknown> = {};
  for (const [name, rule] of Object.entries(fields)) {
    const value = options[name];
    if (value !== undefined) given[name] = rule.check(value, `${path}${name}`);
  }
  return given;
}

/** Also those of objects inside, as `hub.token`. */
function namesIn(fields: Fields): string[] {
  return Object.entries(fields).flatMap(([name, rule]) => [
    name,
    ...Object.keys(rule.fields ?? {}).map((inner) => `${name}.${inner}`),
  ]);
}

/** @param near what may have been meant */
export function unknownName(name: string, near: string | null, takes: string, names: readonly string[]): EspalierError {
  const cut = name.length > 60 ? `${name.slice(0, 59)}…` : name;
  const meant = near === null ? '.' : `; did you mean ${near}?`;
  const hint = names.length === 0 ? 'It takes none.' : `${takes} ${names.join(', ')}.`;
  return new EspalierError('E_ARGUMENT', `There is no option ${cut}${meant}`, hint);
}

/** Looking at a value may run code of its own: a getter, or a proxy. @throws E_ARGUMENT for whatever that throws */
export function readable<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof EspalierError) throw cause;
    throw new EspalierError('E_ARGUMENT', `${what} cannot be read.`, 'Give plain data.', { cause });
  }
}
