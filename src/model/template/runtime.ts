/** What a running template holds: variables, the context that blocks see, loops, macros. */
import type { Budget } from './budget.ts';
import { equals, iterate, length } from './operators.ts';
import { signature } from './signature.ts';
import { Str } from './text.ts';
import {
  type Arguments,
  Dict,
  Iter,
  Native,
  PythonError,
  raise,
  Thing,
  Tuple,
  Undefined,
  type Value,
} from './values.ts';

/** A variable that has no value yet; reading it gives `Undefined`. */
export const MISSING = Symbol('missing');
export type Slot = Value | typeof MISSING | undefined;

/** The names that the whole template shares: what the caller gave, and what its top level has set. */
export class Context {
  readonly given: ReadonlyMap<string, Value>;
  readonly set = new Map<string, Value | typeof MISSING>();
  readonly blocks: ReadonlyMap<string, Block>;

  constructor(given: ReadonlyMap<string, Value>, blocks: ReadonlyMap<string, Block>) {
    this.given = given;
    this.blocks = blocks;
  }

  resolve(name: string): Value | typeof MISSING {
    const own = this.set.get(name);
    if (own !== undefined) return own;
    const given = this.given.get(name);
    return given === undefined ? MISSING : given;
  }

  /** With further names, for a `scoped` block. */
  derived(locals: ReadonlyMap<string, Value | typeof MISSING>): Context {
    const all = new Map(this.given);
    for (const names of [this.set, locals])
      for (const [name, value] of names) if (value !== MISSING) all.set(name, value);
    return new Context(all, this.blocks);
  }
}

export type Block = (run: Run, context: Context) => Str;

/** One rendering. */
export interface Run {
  readonly work: Budget;
  /** How deep calls of macros, loops and blocks are nested. */
  depth: number;
}

/** Calls within calls that are allowed; Python's own stack ends at some 190. */
const DEEPEST_CALLS = 180;

export function nested<T>(run: Run, body: () => T): T {
  if (++run.depth > DEEPEST_CALLS)
    raise('TemplateError', `macros, loops or blocks call each other more than ${DEEPEST_CALLS} deep`);
  const result = body();
  run.depth--;
  return result;
}

/** The variables of one call: of the template itself, a block, a macro or a recursive loop. */
export class Activation {
  readonly run: Run;
  readonly context: Context;
  readonly parent: Activation | null;
  readonly slots: Slot[];

  constructor(run: Run, context: Context, parent: Activation | null, size: number) {
    this.run = run;
    this.context = context;
    this.parent = parent;
    this.slots = new Array<Slot>(size).fill(undefined);
  }

  /** That of the function so many levels around this one. */
  outer(hops: number): Activation {
    let activation: Activation = this;
    for (let i = 0; i < hops; i++) activation = activation.parent!;
    return activation;
  }
}

/** `loop` in a `for`: jinja2.runtime.LoopContext. It reads ahead only where something asks for what comes. */
export class Loop extends Thing {
  readonly typeName = 'LoopContext';
  readonly #run: Run;
  readonly #source: Value;
  readonly #recurse: ((iterable: Value, depth: number) => Str) | null;
  readonly #depth: number;
  #iterator: Iterator<Value>;
  #length: number | null = null;
  #index = -1;
  #after: Value | undefined;
  #current: Value | undefined;
  #before: Value | undefined;
  #changed: Tuple | null = null;

  constructor(run: Run, source: Value, recurse: ((iterable: Value, depth: number) => Str) | null, depth: number) {
    super();
    this.#run = run;
    this.#source = source;
    this.#recurse = recurse;
    this.#depth = depth;
    this.#iterator = iterate(run.work, source);
  }

  /** The next element, or undefined at the end. */
  next(): Value | undefined {
    const value = this.#after === undefined ? pull(this.#iterator) : this.#after;
    this.#after = undefined;
    if (value === undefined) return undefined;
    this.#index++;
    this.#before = this.#current;
    this.#current = value;
    return value;
  }

  #peek(): Value | undefined {
    if (this.#after === undefined) this.#after = pull(this.#iterator);
    return this.#after;
  }

  #size(): number {
    if (this.#length !== null) return this.#length;
    const { work } = this.#run;
    if (this.#source instanceof Iter) {
      const rest: Value[] = [];
      for (let value = pull(this.#iterator); value !== undefined; value = pull(this.#iterator)) {
        work.step();
        rest.push(value);
      }
      this.#iterator = rest[Symbol.iterator]();
      this.#length = rest.length + this.#index + 1 + (this.#after === undefined ? 0 : 1);
    } else this.#length = length(work, this.#source);
    return this.#length;
  }

  override print(): Str {
    return new Str(`<LoopContext ${this.#index + 1}/${this.#size()}>`);
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case 'index':
        return this.#index + 1;
      case 'index0':
        return this.#index;
      case 'first':
        return this.#index === 0;
      case 'last':
        return this.#peek() === undefined;
      case 'length':
        return this.#size();
      case 'revindex':
        return this.#size() - this.#index;
      case 'revindex0':
        return this.#size() - this.#index - 1;
      case 'depth':
        return this.#depth + 1;
      case 'depth0':
        return this.#depth;
      case 'previtem':
        return this.#index === 0 ? new Undefined('there is no previous item') : this.#before;
      case 'nextitem': {
        const next = this.#peek();
        return next === undefined ? new Undefined('there is no next item') : next;
      }
      case 'cycle':
        return new Native(name, (_, { positional, named }) => {
          if (named.size > 0) raise('TypeError', 'cycle() takes no keyword arguments');
          if (positional.length === 0) raise('TypeError', 'no items for cycling given');
          return positional[this.#index % positional.length]!;
        });
      case 'changed':
        return new Native(name, (work, { positional, named }) => {
          if (named.size > 0) raise('TypeError', 'changed() takes no keyword arguments');
          const values = new Tuple(positional);
          if (this.#changed !== null && equals(work, this.#changed, values)) return false;
          this.#changed = values;
          return true;
        });
      default:
        return undefined;
    }
  }

  override call(_work: Budget, args: Arguments): Value {
    const [iterable] = LOOP(args);
    if (this.#recurse === null) {
      raise('TypeError', "The loop must have the 'recursive' marker to be called recursively.");
    }
    return this.#recurse(iterable!, this.#depth + 1);
  }
}

const LOOP = signature('loop', 'iterable');

function pull(iterator: Iterator<Value>): Value | undefined {
  const next = iterator.next();
  return next.done ? undefined : next.value;
}

/** What of a macro is known before it is called. */
export interface MacroShape {
  /** Null for the body of a call block. */
  readonly name: string | null;
  readonly parameters: readonly string[];
  readonly takesCaller: boolean;
  readonly takesNamed: boolean;
  readonly takesRest: boolean;
}

/** jinja2.runtime.Macro */
export class Macro extends Thing {
  readonly typeName = 'Macro';
  readonly #shape: MacroShape;
  readonly #body: (args: readonly (Value | typeof MISSING)[]) => Str;

  constructor(shape: MacroShape, body: (args: readonly (Value | typeof MISSING)[]) => Str) {
    super();
    this.#shape = shape;
    this.#body = body;
  }

  override print(): Str {
    return new Str(this.#shape.name === null ? '<Macro anonymous>' : `<Macro '${this.#shape.name}'>`);
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case 'name':
        return this.#shape.name === null ? null : new Str(this.#shape.name);
      case 'arguments':
        return new Tuple(this.#shape.parameters.map((parameter) => new Str(parameter)));
      case 'catch_kwargs':
        return this.#shape.takesNamed;
      case 'catch_varargs':
        return this.#shape.takesRest;
      case 'caller':
        return this.#shape.takesCaller;
      case 'explicit_caller':
        return this.#shape.parameters.includes('caller');
      default:
        return undefined;
    }
  }

  override call(work: Budget, { positional, named }: Arguments): Value {
    const { parameters, takesCaller, takesNamed, takesRest } = this.#shape;
    const left = new Map(named);
    const args: (Value | typeof MISSING)[] = positional.slice(0, parameters.length);
    const take = (name: string) => {
      const value = left.get(name);
      left.delete(name);
      return value;
    };
    let callerFound = args.length === parameters.length && parameters.includes('caller');
    for (const name of parameters.slice(args.length)) {
      const value = take(name);
      if (name === 'caller') callerFound = true;
      args.push(value === undefined ? MISSING : value);
    }
    if (takesCaller && !callerFound) {
      const caller = take('caller');
      args.push(caller === undefined || caller === null ? new Undefined('No caller defined') : caller);
    }
    if (takesNamed)
      args.push(
        Dict.of(
          work,
          [...left].map(([name, value]) => [new Str(name), value]),
        ),
      );
    else if (left.size > 0) {
      raise('TypeError', `macro '${this.#shape.name}' takes no keyword argument '${left.keys().next().value}'`);
    }
    if (takesRest) args.push(new Tuple(positional.slice(parameters.length)));
    else if (positional.length > parameters.length) {
      raise('TypeError', `macro '${this.#shape.name}' takes not more than ${parameters.length} argument(s)`);
    }
    return this.#body(args);
  }
}

/** `self`, whose elements are the blocks of the template. */
export class TemplateReference extends Thing {
  readonly typeName = 'TemplateReference';

  override print(): Str {
    return new Str('<TemplateReference None>');
  }

  readonly #run: Run;
  readonly #context: Context;

  constructor(run: Run, context: Context) {
    super();
    this.#run = run;
    this.#context = context;
  }

  override attribute(name: string): Value | undefined {
    const block = this.#context.blocks.get(name);
    if (block === undefined) return undefined;
    return new Native(name, (_, args) => {
      NOTHING(args);
      return block(this.#run, this.#context);
    });
  }

  override element(key: Value): Value | undefined {
    return key instanceof Str ? this.attribute(key.text) : undefined;
  }
}

const NOTHING = signature('block', '');

/** Calls a value. @throws TypeError for one that cannot be called */
export function call(work: Budget, value: Value, args: Arguments): Value {
  work.step();
  if (value instanceof Undefined) value.fail();
  if (value instanceof Thing && value.call !== undefined) return value.call(work, args);
  throw new PythonError('TypeError', 'what is called is no function');
}
