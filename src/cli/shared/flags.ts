import { EspalierError } from '../../errors.ts';
import type { AnyRule, Rule, Schema } from '../../options/rules.ts';
import type { ArgumentSpecs } from './command.ts';

/** How an option is said at the command line. Its name, its reading and its range come from the schema. */
export interface FlagSpec {
  readonly alias?: string;
  /** What stands for the value in the help. Without: a switch, for options that are true or false. */
  readonly value?: string;
  readonly description: string;
  readonly required?: true;
  /** A switch without which it is required. */
  readonly unless?: string;
  /** Of a switch: what `--no-NAME` does, where there is one. */
  readonly negative?: string;
  /** Several times, for options that take lists: one of them. */
  readonly each?: Rule<string>;
}

/** Of every command whose result need not be the same to the bit everywhere. */
export const deviceFlag = {
  value: 'NAME',
  description: 'What computes: wasm, the CPU; webgpu, a GPU; auto: a real GPU where it is known to be faster',
} as const satisfies FlagSpec;

/** The flags of an options object, and the way back. */
export interface OptionFlags<T> {
  readonly args: ArgumentSpecs;
  /** The options among the values of a command line. */
  options(values: Readonly<Record<string, unknown>>): Partial<T>;
}

/** Flags for all options of a schema; null: it cannot be said at the command line, or is said otherwise. */
export function optionFlags<T extends object>(
  schema: Schema<T>,
  specs: { readonly [K in keyof T]-?: FlagSpec | null },
): OptionFlags<T> {
  const rules = schema as Readonly<Record<string, AnyRule>>;
  const said = Object.entries(specs as Readonly<Record<string, FlagSpec | null>>).flatMap(([option, spec]) =>
    spec === null ? [] : [{ option, flag: kebab(option), ...spec }],
  );
  const args = said.map(({ option, flag, value, alias, description, required, unless, negative, each }) => [
    flag,
    {
      description,
      ...(alias !== undefined && { alias }),
      ...(required && { required }),
      ...(unless !== undefined && { unless }),
      ...(value === undefined
        ? { type: 'boolean', ...(negative !== undefined && { negative }) }
        : { type: 'string', value, rule: each ?? rules[option], ...(each && { many: true }) }),
    },
  ]);
  return {
    args: Object.fromEntries(args),
    options: (values) =>
      Object.fromEntries(
        said.flatMap(({ option, flag }) => (values[flag] === undefined ? [] : [[option, values[flag]]])),
      ) as Partial<T>,
  };
}

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/**
 * An error of the library as somebody at a command line needs it: where it names options, it names their flags. Names that are words of
 * English too are taken for options only where a message begins with them, or in backticks.
 */
export function inFlags(error: EspalierError, specs: ArgumentSpecs): EspalierError {
  const [message, hint] = [textInFlags(error.message, specs), textInFlags(error.hint, specs)];
  return message === error.message && hint === error.hint
    ? error
    : new EspalierError(error.code, message, hint, { cause: error });
}

/** Options whose flags, each with one of what they list, are in the singular. */
const SINGULAR: Readonly<Record<string, string>> = { column: 'columns' };

/** The same of one text. */
export function textInFlags(given: string, specs: ArgumentSpecs): string {
  let text = given;
  for (const [flag, spec] of Object.entries(specs)) {
    if (spec.type === 'positional') continue;
    const option = SINGULAR[flag] ?? flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const said = spec.type === 'boolean' ? `--${flag}` : `--${flag} $1`;
    const backticked = new RegExp(`\`${option}: "?([^\`"]+)"?\``, 'g');
    const name =
      option === flag
        ? new RegExp(`^${option}(?=(?:\\[\\d+\\])? is )`)
        : new RegExp(`(?<![\\w-])${option}(?![\\w-])`, 'g');
    text = text.replace(backticked, said).replaceAll(`\`${option}\``, `--${flag}`);
    if (SINGULAR[flag] === undefined) text = text.replace(name, `--${flag}`);
  }
  return text;
}
