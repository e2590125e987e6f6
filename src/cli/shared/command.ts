import type { AnyRule } from '../../options/rules.ts';
import type { Io } from './io.ts';

interface Described {
  readonly description: string;
  readonly required?: boolean;
}

/** A flag with a value, `--name VALUE`; the text as it was given where there is no rule. */
export interface ValueFlag extends Described {
  readonly type: 'string';
  /** One letter. */
  readonly alias?: string;
  /** What stands for the value in the help; default VALUE. */
  readonly value?: string;
  readonly default?: string;
  /** Reads the text and checks what it says, when the command line is read. */
  readonly rule?: AnyRule;
  /** Whether it may be given several times, which makes a list. Of other flags the last one counts. */
  readonly many?: boolean;
  /** A switch without which this flag is required. */
  readonly unless?: string;
}

/** A flag without a value. */
export interface Switch extends Described {
  readonly type: 'boolean';
  readonly alias?: string;
  readonly default?: boolean;
  /** What `--no-NAME` does, where there is one. */
  readonly negative?: string;
}

export interface Positional extends Described {
  readonly type: 'positional';
}

export type Argument = ValueFlag | Switch | Positional;
export type ArgumentSpecs = Readonly<Record<string, Argument>>;

type Plain<A> = A extends { readonly type: 'boolean' }
  ? boolean
  : A extends { readonly rule: { check(value: unknown, name: string): infer T } }
    ? T
    : string;
type Value<A> = A extends { readonly many: true } ? readonly Plain<A>[] : Plain<A>;

/** What was given, by the names of the arguments, with defaults in the gaps. */
export type Values<A> = {
  readonly [K in keyof A]: A[K] extends { readonly required: true } | { readonly default: unknown }
    ? Value<A[K]>
    : Value<A[K]> | undefined;
};

interface Parts {
  readonly io: Io;
  /** Fires when the user wants no more. */
  readonly signal: AbortSignal;
  /** What was asked for was done, and its outcome is a failure: the exit code is 1. */
  readonly fail: () => void;
}

export interface Context<A> extends Parts {
  readonly args: Values<A>;
}

export type Sections = Readonly<Record<string, readonly string[]>>;

/** One command, or a name for several. */
export interface Command {
  readonly meta: { readonly name: string; readonly description: string };
  readonly args?: ArgumentSpecs;
  /** Names of flags by the titles under which the help has them; all others stand under Options. */
  readonly sections?: Sections;
  readonly subCommands?: Readonly<Record<string, Command | (() => Promise<Command>)>>;
  run?(context: Parts & { readonly args: Readonly<Record<string, unknown>> }): Promise<void>;
}

/** A command whose `run` has its arguments' types. */
export function defineCommand<const A extends ArgumentSpecs>(command: {
  readonly meta: Command['meta'];
  readonly args?: A;
  readonly sections?: Sections;
  readonly subCommands?: Command['subCommands'];
  readonly run?: (context: Context<A>) => Promise<void>;
}): Command {
  return command as Command;
}
