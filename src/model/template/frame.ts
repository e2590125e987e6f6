/** Where in a template something stands: which variables it sees, and which function of the compiled template holds them. */
import type { Expression } from './nodes.ts';
import { type Activation, MISSING, type Slot } from './runtime.ts';
import { type Load, levelOf, Symbols } from './symbols.ts';
import type { TextBuilder } from './text.ts';
import { raise, Undefined, type Value } from './values.ts';

/** Computes an expression. */
export type Compute = (at: Activation) => Value;
/** What a statement makes of the loop around it. */
export type Signal = 'break' | 'continue' | undefined;
/** Runs a statement, which writes to `out`. */
export type Execute = (at: Activation, out: TextBuilder) => Signal;

/** What becomes a function of its own: the template, a block, a macro, a recursive loop, a loop's condition. */
export class Scope {
  readonly parent: Scope | null;
  /** The level of its outermost frame. */
  readonly level: number;
  readonly #slots = new Map<string, number>();

  constructor(parent: Scope | null, level: number) {
    this.parent = parent;
    this.level = level;
  }

  get size(): number {
    return this.#slots.size;
  }

  slot(variable: string): number {
    let slot = this.#slots.get(variable);
    if (slot === undefined) this.#slots.set(variable, (slot = this.#slots.size));
    return slot;
  }
}

export interface Place {
  readonly hops: number;
  readonly slot: number;
}

export class Frame {
  readonly symbols: Symbols;
  readonly scope: Scope;
  /** At the top of the template, branches of an `if` included. */
  readonly toplevel: boolean;
  /** Within a branch: a filter that does not exist matters only when it is reached. */
  readonly soft: boolean;
  /** Within a loop of the same function: `break` and `continue` have something to leave. */
  readonly inLoop: boolean;

  constructor(symbols: Symbols, scope: Scope, toplevel = false, soft = false, inLoop = false) {
    this.symbols = symbols;
    this.scope = scope;
    this.toplevel = toplevel;
    this.soft = soft;
    this.inLoop = inLoop;
  }

  /** The same frame within a branch. */
  branch(): Frame {
    return new Frame(this.symbols, this.scope, this.toplevel, true, this.inLoop);
  }

  variable(name: string): string {
    const variable = this.symbols.find(name);
    return variable === undefined ? raise('Unsupported', `'${name}' is not known where it stands`) : variable;
  }

  place(variable: string): Place {
    const level = levelOf(variable);
    let scope = this.scope;
    let hops = 0;
    while (scope.level > level && scope.parent !== null) {
      scope = scope.parent;
      hops++;
    }
    return { hops, slot: scope.slot(variable) };
  }

  /** Reads a variable. */
  reader(name: string): Compute {
    const { hops, slot } = this.place(this.variable(name));
    if (hops === 0) return (at) => held(at.slots[slot], name);
    return (at) => held(at.outer(hops).slots[slot], name);
  }

  /** Writes a variable of this frame. */
  writer(name: string): (at: Activation, value: Value) => void {
    const { hops, slot } = this.place(this.variable(name));
    return (at, value) => {
      at.outer(hops).slots[slot] = value;
    };
  }

  /** What gives the frame's variables their first values. */
  enter(): (at: Activation) => void {
    const actions = [...this.symbols.loads].flatMap(([variable, load]) => this.#start(variable, load));
    return (at) => {
      for (const action of actions) action(at);
    };
  }

  #start(variable: string, load: Load): ((at: Activation) => void)[] {
    const { hops, slot } = this.place(variable);
    switch (load.how) {
      case 'parameter':
        return [];
      case 'resolve':
        return [(at) => (at.outer(hops).slots[slot] = at.context.resolve(load.name))];
      case 'missing':
        return [(at) => (at.outer(hops).slots[slot] = MISSING)];
      case 'alias': {
        const outer = this.place(load.of);
        return [(at) => (at.outer(hops).slots[slot] = at.outer(outer.hops).slots[outer.slot])];
      }
      default:
        return load satisfies never;
    }
  }

  /** What takes the frame's variables away again. */
  leave(): (at: Activation) => void {
    const places = [...this.symbols.loads.keys()].map((variable) => this.place(variable));
    return (at) => {
      for (const { hops, slot } of places) at.outer(hops).slots[slot] = MISSING;
    };
  }
}

/** A frame within another one, of the same function unless another scope is given. */
export function within(frame: Frame, options: { scope?: (level: number) => Scope; inLoop?: boolean } = {}): Frame {
  const symbols = new Symbols(frame.symbols);
  const scope = options.scope?.(symbols.level) ?? frame.scope;
  return new Frame(symbols, scope, false, false, options.inLoop ?? (scope === frame.scope && frame.inLoop));
}

function held(slot: Slot, name: string): Value {
  if (slot === MISSING) return new Undefined(`'${name}' is undefined`);
  return slot === undefined ? raise('TemplateError', `'${name}' is used before it has a value`) : slot;
}

/** Whether an expression is made of literals and arithmetic alone, so that Jinja2 computes it once, beforehand. */
export function isConstant(node: Expression): boolean {
  switch (node.kind) {
    case 'constant':
      return true;
    case 'unary':
      return isConstant(node.node);
    case 'binary':
      return isConstant(node.left) && isConstant(node.right);
    case 'data':
    case 'name':
    case 'tuple':
    case 'list':
    case 'dict':
    case 'condition':
    case 'filter':
    case 'test':
    case 'call':
    case 'attribute':
    case 'item':
    case 'slice':
    case 'concat':
    case 'comparison':
    case 'namespaceRef':
      return false;
    default:
      throw node satisfies never;
  }
}
