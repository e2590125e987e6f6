/** The syntax tree of a template, with Jinja2's names and order of children: its rules about scopes go by them. */
import type { Value } from './values.ts';

export class TemplateSyntaxError extends Error {
  override readonly name = 'TemplateSyntaxError';

  constructor(message: string, line: number) {
    super(line > 0 ? `${message} (line ${line})` : message);
  }
}

export interface Call {
  readonly args: readonly Expression[];
  readonly named: readonly { readonly key: string; readonly value: Expression }[];
  /** `*values` and `**values` */
  readonly rest: Expression | null;
  readonly namedRest: Expression | null;
}

export type ComparisonOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export type Expression =
  | { readonly kind: 'constant'; readonly value: Value }
  | { readonly kind: 'data'; readonly text: string }
  | { readonly kind: 'name'; readonly name: string; context: 'load' | 'store' | 'param' }
  | { readonly kind: 'namespaceRef'; readonly name: string; readonly attribute: string }
  | { readonly kind: 'tuple' | 'list'; readonly items: readonly Expression[] }
  | { readonly kind: 'dict'; readonly pairs: readonly (readonly [key: Expression, value: Expression])[] }
  | {
      readonly kind: 'condition';
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | null;
    }
  | { readonly kind: 'filter'; readonly node: Expression | null; readonly name: string; readonly call: Call }
  | { readonly kind: 'test'; readonly node: Expression; readonly name: string; readonly call: Call }
  | { readonly kind: 'call'; readonly node: Expression; readonly call: Call }
  | { readonly kind: 'attribute'; readonly node: Expression; readonly name: string }
  | { readonly kind: 'item'; readonly node: Expression; readonly key: Expression }
  | {
      readonly kind: 'slice';
      readonly start: Expression | null;
      readonly stop: Expression | null;
      readonly step: Expression | null;
    }
  | { readonly kind: 'concat'; readonly nodes: readonly Expression[] }
  | {
      readonly kind: 'comparison';
      readonly node: Expression;
      readonly operations: readonly { readonly operator: ComparisonOperator; readonly node: Expression }[];
    }
  | { readonly kind: 'unary'; readonly operator: 'not' | '-' | '+'; readonly node: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: 'and' | 'or' | '+' | '-' | '*' | '/' | '//' | '%' | '**';
      readonly left: Expression;
      readonly right: Expression;
    };

export type NameNode = Extract<Expression, { kind: 'name' }>;

/** Parameters of a macro or a call block. */
export interface Parameters {
  readonly args: readonly NameNode[];
  /** Of the last parameters. */
  readonly defaults: readonly Expression[];
}

export type Statement =
  | { readonly kind: 'output'; readonly nodes: readonly Expression[] }
  | {
      readonly kind: 'for';
      readonly target: Expression;
      readonly iterable: Expression;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
      readonly test: Expression | null;
      readonly recursive: boolean;
      readonly line: number;
    }
  | {
      readonly kind: 'if';
      readonly test: Expression;
      readonly body: readonly Statement[];
      readonly elifs: readonly Extract<Statement, { kind: 'if' }>[];
      readonly otherwise: readonly Statement[];
    }
  | ({
      readonly kind: 'macro';
      readonly name: string;
      readonly body: readonly Statement[];
      readonly line: number;
    } & Parameters)
  | ({
      readonly kind: 'callBlock';
      /** Null for `{% generation %}`, which prints what its body says. */
      readonly call: Extract<Expression, { kind: 'call' }> | null;
      readonly body: readonly Statement[];
      readonly line: number;
    } & Parameters)
  | { readonly kind: 'filterBlock'; readonly filter: Expression; readonly body: readonly Statement[] }
  | {
      readonly kind: 'with';
      readonly targets: readonly Expression[];
      readonly values: readonly Expression[];
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'block';
      readonly name: string;
      readonly scoped: boolean;
      readonly required: boolean;
      readonly body: readonly Statement[];
      readonly line: number;
    }
  | { readonly kind: 'assign'; readonly target: Expression; readonly value: Expression }
  | {
      readonly kind: 'assignBlock';
      readonly target: Expression;
      readonly filter: Expression | null;
      readonly body: readonly Statement[];
    }
  | { readonly kind: 'break' | 'continue'; readonly line: number };

export type Node = Expression | Statement;

const ofCall = (call: Call): Node[] => {
  const nodes: Node[] = [...call.args, ...call.named.map(({ value }) => value)];
  if (call.rest) nodes.push(call.rest);
  if (call.namedRest) nodes.push(call.namedRest);
  return nodes;
};

const present = (...nodes: (Expression | null)[]): Node[] => nodes.filter((node) => node !== null);

/** A node's children in Jinja2's order. */
export function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'constant':
    case 'data':
    case 'name':
    case 'namespaceRef':
    case 'break':
    case 'continue':
      return [];
    case 'tuple':
    case 'list':
      return node.items;
    case 'dict':
      return node.pairs.flat();
    case 'condition':
      return present(node.test, node.then, node.otherwise);
    case 'filter':
    case 'test':
    case 'call':
      return [...present(node.node), ...ofCall(node.call)];
    case 'attribute':
    case 'unary':
      return [node.node];
    case 'item':
      return [node.node, node.key];
    case 'slice':
      return present(node.start, node.stop, node.step);
    case 'concat':
    case 'output':
      return node.nodes;
    case 'comparison':
      return [node.node, ...node.operations.map((operation) => operation.node)];
    case 'binary':
      return [node.left, node.right];
    case 'for':
      return [node.target, node.iterable, ...node.body, ...node.otherwise, ...present(node.test)];
    case 'if':
      return [node.test, ...node.body, ...node.elifs, ...node.otherwise];
    case 'macro':
      return [...node.args, ...node.defaults, ...node.body];
    case 'callBlock':
      return [...present(node.call), ...node.args, ...node.defaults, ...node.body];
    case 'filterBlock':
      return [...node.body, node.filter];
    case 'with':
      return [...node.targets, ...node.values, ...node.body];
    case 'block':
      return node.body;
    case 'assign':
      return [node.target, node.value];
    case 'assignBlock':
      return [node.target, ...present(node.filter), ...node.body];
    default:
      return node satisfies never;
  }
}
