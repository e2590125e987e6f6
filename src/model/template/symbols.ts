/**
 * Which variable a name means, decided before anything runs, as `jinja2.idtracking` decides it: a `set` in a loop or a block writes
 * a variable of that frame, which starts as a copy of the outer one; a branch of an `if` writes the frame that it stands in.
 */
import { childrenOf, type Expression, type NameNode, type Node } from './nodes.ts';

/** How a variable starts when its frame is entered. */
export type Load =
  | { readonly how: 'parameter' }
  | { readonly how: 'resolve'; readonly name: string }
  | { readonly how: 'alias'; readonly of: string }
  | { readonly how: 'missing' };

/** The level of a variable `level:name`. */
export const levelOf = (variable: string): number => Number.parseInt(variable, 10);

/** The names of one frame. */
export class Symbols {
  readonly parent: Symbols | null;
  readonly level: number;
  refs = new Map<string, string>();
  loads = new Map<string, Load>();
  stores = new Set<string>();

  constructor(parent: Symbols | null) {
    this.parent = parent;
    this.level = parent === null ? 0 : parent.level + 1;
  }

  copy(): Symbols {
    const copy = new Symbols(this.parent);
    copy.refs = new Map(this.refs);
    copy.loads = new Map(this.loads);
    copy.stores = new Set(this.stores);
    return copy;
  }

  find(name: string): string | undefined {
    return this.refs.get(name) ?? this.parent?.find(name);
  }

  /** All names that this frame and those around it write, with their variables. */
  written(): Map<string, string> {
    const all = new Map<string, string>();
    for (let symbols: Symbols | null = this; symbols !== null; symbols = symbols.parent) {
      for (const name of symbols.stores) if (!all.has(name)) all.set(name, this.find(name)!);
    }
    return all;
  }

  #define(name: string, load: Load): string {
    const variable = `${this.level}:${name}`;
    this.refs.set(name, variable);
    this.loads.set(variable, load);
    return variable;
  }

  parameter(name: string): string {
    this.stores.add(name);
    return this.#define(name, { how: 'parameter' });
  }

  store(name: string): void {
    this.stores.add(name);
    if (this.refs.has(name)) return;
    const outer = this.parent?.find(name);
    this.#define(name, outer === undefined ? { how: 'missing' } : { how: 'alias', of: outer });
  }

  load(name: string): void {
    if (this.find(name) === undefined) this.#define(name, { how: 'resolve', name });
  }

  /** Takes over what the branches of an `if` read and wrote. */
  merge(branches: readonly Symbols[]): void {
    const written = new Set<string>();
    for (const branch of branches) for (const name of branch.stores) if (!this.stores.has(name)) written.add(name);
    for (const branch of branches) {
      for (const [name, variable] of branch.refs) this.refs.set(name, variable);
      for (const [variable, load] of branch.loads) this.loads.set(variable, load);
      for (const name of branch.stores) this.stores.add(name);
    }
    for (const name of written) {
      const outer = this.parent?.find(name);
      this.loads.set(this.find(name)!, outer === undefined ? { how: 'resolve', name } : { how: 'alias', of: outer });
    }
  }

  /** Reads the names of nodes that stand in this frame; bodies that have a frame of their own are passed over. */
  analyse(nodes: Iterable<Node>): void {
    new Visitor(this).all(nodes);
  }

  /** Declares the names that a loop or a macro assigns. */
  declare(target: Node): void {
    if (target.kind === 'name') this.parameter(target.name);
    else if (target.kind === 'namespaceRef') this.load(target.name);
    else for (const child of childrenOf(target)) this.declare(child);
  }
}

class Visitor {
  #symbols: Symbols;

  constructor(symbols: Symbols) {
    this.#symbols = symbols;
  }

  all(nodes: Iterable<Node>): void {
    for (const node of nodes) this.visit(node);
  }

  visit(node: Node): void {
    if (node.kind === 'name') this.#name(node);
    else if (node.kind === 'namespaceRef') this.#symbols.load(node.name);
    else if (node.kind === 'macro') this.#symbols.store(node.name);
    else if (node.kind === 'if') this.#if(node);
    else this.all(sameFrame(node));
  }

  #name(node: NameNode): void {
    if (node.context === 'param') this.#symbols.parameter(node.name);
    else if (node.context === 'store') this.#symbols.store(node.name);
    else this.#symbols.load(node.name);
  }

  #if(node: Extract<Node, { kind: 'if' }>): void {
    this.visit(node.test);
    const whole = this.#symbols;
    const branch = (nodes: readonly Node[]) => {
      this.#symbols = whole.copy();
      this.all(nodes);
      const symbols = this.#symbols;
      this.#symbols = whole;
      return symbols;
    };
    whole.merge([branch(node.body), branch(node.elifs), branch(node.otherwise)]);
  }
}

/** The children of a node that stand in the node's own frame, in the order in which Jinja2 looks at them. */
function sameFrame(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'assign':
      return [node.value, node.target];
    case 'for':
      return [node.iterable];
    case 'callBlock':
      return node.call === null ? [] : [node.call];
    case 'filterBlock':
      return [node.filter];
    case 'with':
      return node.values;
    case 'assignBlock':
      return [node.target];
    case 'block':
      return [];
    case 'constant':
    case 'data':
    case 'name':
    case 'namespaceRef':
    case 'tuple':
    case 'list':
    case 'dict':
    case 'condition':
    case 'filter':
    case 'test':
    case 'call':
    case 'attribute':
    case 'unary':
    case 'binary':
    case 'item':
    case 'slice':
    case 'concat':
    case 'comparison':
    case 'output':
    case 'if':
    case 'macro':
    case 'break':
    case 'continue':
      return childrenOf(node);
    default:
      throw node satisfies never;
  }
}

/** Those of the names that nodes read without having written them before. */
export function undeclared(nodes: Iterable<Node>, names: readonly string[]): Set<string> {
  const wanted = new Set(names);
  const found = new Set<string>();
  const visit = (node: Node): void => {
    if (node.kind === 'block') return;
    if (node.kind === 'name') {
      if (node.context === 'load' && wanted.has(node.name)) found.add(node.name);
      else wanted.delete(node.name);
      return;
    }
    for (const child of childrenOf(node)) visit(child);
  };
  for (const node of nodes) visit(node);
  return found;
}

/** All nodes below one, itself left out. */
export function* descendants(node: Node): Generator<Node> {
  for (const child of childrenOf(node)) {
    yield child;
    yield* descendants(child);
  }
}

/** The names of an assignment's target. */
export function targetNames(target: Expression): string[] {
  if (target.kind === 'name') return [target.name];
  return target.kind === 'tuple' ? target.items.flatMap(targetNames) : [];
}
