/** Jinja2's grammar of expressions, from `jinja2.parser`. */
import type { Token } from './lexer.ts';
import type { Call, ComparisonOperator, Expression, NameNode } from './nodes.ts';
import { integer } from './numbers.ts';
import { Str } from './text.ts';
import { TokenStream } from './token-stream.ts';
import { Float } from './values.ts';

/** Height of an expression's tree: operators in a row. */
const HIGHEST = 300;

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=']);
const NO_CALL: Call = { args: [], named: [], rest: null, namedRest: null };

export class ExpressionParser extends TokenStream {
  /** Of trees that operators in a row have built. */
  readonly #heights = new WeakMap<object, number>();

  /** A node above others, whose height is bounded. */
  #above<E extends Expression>(node: E, ...children: readonly (Expression | null)[]): E {
    let height = 1;
    for (const child of children) if (child) height = Math.max(height, 1 + (this.#heights.get(child) ?? 0));
    if (height > HIGHEST) this.fail(`more than ${HIGHEST} operators in a row`);
    this.#heights.set(node, height);
    return node;
  }

  protected expression(conditional = true): Expression {
    return this.deeper(() => (conditional ? this.#condition() : this.#or()));
  }

  #condition(): Expression {
    let then = this.#or();
    while (this.skipIf('name', 'if')) {
      const test = this.#or();
      const otherwise = this.skipIf('name', 'else') ? this.deeper(() => this.#condition()) : null;
      then = this.#above({ kind: 'condition', test, then, otherwise }, test, then, otherwise);
    }
    return then;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.skipIf('name', 'or')) left = this.#binary('or', left, this.#and());
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.skipIf('name', 'and')) left = this.#binary('and', left, this.#not());
    return left;
  }

  #binary(
    operator: Extract<Expression, { kind: 'binary' }>['operator'],
    left: Expression,
    right: Expression,
  ): Expression {
    return this.#above({ kind: 'binary', operator, left, right }, left, right);
  }

  #not(): Expression {
    if (!this.skipIf('name', 'not')) return this.#comparison();
    return this.deeper(() => {
      const node = this.#not();
      return this.#above({ kind: 'unary', operator: 'not', node }, node);
    });
  }

  #comparison(): Expression {
    const node = this.#sum();
    const operations: { operator: ComparisonOperator; node: Expression }[] = [];
    for (;;) {
      const { type, text } = this.current;
      let operator: ComparisonOperator;
      if (type === 'operator' && COMPARISONS.has(text)) operator = text as ComparisonOperator;
      else if (this.isName('in')) operator = 'in';
      else if (this.isName('not') && this.look().type === 'name' && this.look().text === 'in') operator = 'not in';
      else break;
      this.next();
      if (operator === 'not in') this.next();
      operations.push({ operator, node: this.#sum() });
    }
    if (operations.length === 0) return node;
    return this.#above(
      { kind: 'comparison', node, operations },
      node,
      ...operations.map((operation) => operation.node),
    );
  }

  #operator<T extends string>(...texts: readonly T[]): T | null {
    const { type, text } = this.current;
    if (type !== 'operator' || !(texts as readonly string[]).includes(text)) return null;
    this.next();
    return text as T;
  }

  #sum(): Expression {
    let left = this.#concat();
    for (let operator = this.#operator('+', '-'); operator !== null; operator = this.#operator('+', '-')) {
      left = this.#binary(operator, left, this.#concat());
    }
    return left;
  }

  #concat(): Expression {
    const nodes = [this.#product()];
    while (this.skipIf('operator', '~')) nodes.push(this.#product());
    return nodes.length === 1 ? nodes[0]! : this.#above({ kind: 'concat', nodes }, ...nodes);
  }

  #product(): Expression {
    let left = this.#power();
    for (;;) {
      const operator = this.#operator('*', '/', '//', '%');
      if (operator === null) return left;
      left = this.#binary(operator, left, this.#power());
    }
  }

  #power(): Expression {
    let left = this.#unary();
    while (this.skipIf('operator', '**')) left = this.#binary('**', left, this.#unary());
    return left;
  }

  #unary(withFilter = true): Expression {
    const operator = this.#operator('-', '+');
    let node: Expression;
    if (operator === null) node = this.primary(false);
    else {
      node = this.deeper(() => {
        const inner = this.#unary(false);
        return this.#above({ kind: 'unary', operator, node: inner }, inner);
      });
    }
    node = this.#postfix(node);
    return withFilter ? this.#filters(node) : node;
  }

  /** A name, a literal or something in brackets; with `namespaces`, `name.attribute` for an assignment. */
  protected primary(namespaces: boolean): Expression {
    const token = this.current;
    switch (token.type) {
      case 'name':
        this.next();
        if (['true', 'True', 'false', 'False'].includes(token.text)) {
          return { kind: 'constant', value: token.text.toLowerCase() === 'true' };
        }
        if (token.text === 'none' || token.text === 'None') return { kind: 'constant', value: null };
        if (namespaces && this.skipIf('operator', '.')) {
          return { kind: 'namespaceRef', name: token.text, attribute: this.expect('name').text };
        }
        return { kind: 'name', name: token.text, context: 'load' };
      case 'string': {
        let text = '';
        while (this.is('string')) text += this.next().text;
        return { kind: 'constant', value: new Str(text) };
      }
      case 'integer':
      case 'float':
        this.next();
        return { kind: 'constant', value: numberOf(token) };
      default:
        return this.deeper(() => this.#bracketed(token));
    }
  }

  #bracketed(token: Token): Expression {
    if (this.skipIf('operator', '(')) {
      const node = this.tuple({ explicit: true });
      this.expect('operator', ')');
      return node;
    }
    if (this.isOperator('[')) return this.#list();
    if (this.isOperator('{')) return this.#dict();
    return this.fail(`unexpected '${token.text || token.type.replace('_', ' ')}'`);
  }

  /** One expression, or a tuple of several with commas between them. */
  protected tuple(
    options: {
      readonly conditional?: boolean;
      /** In parentheses: may be empty. */
      readonly explicit?: boolean;
      /** Only names and literals: what an assignment writes to. */
      readonly target?: boolean;
      readonly namespaces?: boolean;
      /** A name that ends it. */
      readonly endsAt?: string;
    } = {},
  ): Expression {
    const items: Expression[] = [];
    let tuple = false;
    for (;;) {
      if (items.length > 0) this.expect('operator', ',');
      if (this.#tupleEnds(options.endsAt)) break;
      items.push(
        options.target ? this.primary(options.namespaces ?? false) : this.expression(options.conditional ?? true),
      );
      if (!this.isOperator(',')) break;
      tuple = true;
    }
    if (tuple) return this.#above({ kind: 'tuple', items }, ...items);
    if (items.length > 0) return items[0]!;
    if (!options.explicit) this.fail(`Expected an expression, got '${this.current.text || this.current.type}'`);
    return { kind: 'tuple', items };
  }

  #tupleEnds(name: string | undefined): boolean {
    return (
      this.is('variable_end') ||
      this.is('block_end') ||
      this.isOperator(')') ||
      (name !== undefined && this.isName(name))
    );
  }

  #list(): Expression {
    this.expect('operator', '[');
    const items: Expression[] = [];
    while (!this.isOperator(']')) {
      if (items.length > 0) this.expect('operator', ',');
      if (this.isOperator(']')) break;
      items.push(this.expression());
    }
    this.expect('operator', ']');
    return this.#above({ kind: 'list', items }, ...items);
  }

  #dict(): Expression {
    this.expect('operator', '{');
    const pairs: (readonly [Expression, Expression])[] = [];
    while (!this.isOperator('}')) {
      if (pairs.length > 0) this.expect('operator', ',');
      if (this.isOperator('}')) break;
      const key = this.expression();
      this.expect('operator', ':');
      pairs.push([key, this.expression()]);
    }
    this.expect('operator', '}');
    return this.#above({ kind: 'dict', pairs }, ...pairs.flat());
  }

  #postfix(node: Expression): Expression {
    for (;;) {
      if (this.isOperator('.') || this.isOperator('[')) node = this.#subscript(node);
      else if (this.isOperator('(')) node = this.#call(node);
      else return node;
    }
  }

  #filters(node: Expression): Expression {
    for (;;) {
      if (this.isOperator('|')) node = this.filter(node)!;
      else if (this.isName('is')) node = this.#test(node);
      else if (this.isOperator('(')) node = this.#call(node);
      else return node;
    }
  }

  #subscript(node: Expression): Expression {
    if (this.skipIf('operator', '.')) {
      const token = this.next();
      if (token.type === 'name') return this.#above({ kind: 'attribute', node, name: token.text }, node);
      if (token.type !== 'integer') this.fail('expected name or number', token.line);
      return this.#above({ kind: 'item', node, key: { kind: 'constant', value: numberOf(token) } }, node);
    }
    this.expect('operator', '[');
    const keys: Expression[] = [];
    while (!this.isOperator(']')) {
      if (keys.length > 0) this.expect('operator', ',');
      keys.push(this.#subscribed());
    }
    this.expect('operator', ']');
    const key: Expression = keys.length === 1 ? keys[0]! : { kind: 'tuple', items: keys };
    return this.#above({ kind: 'item', node, key }, node, ...keys);
  }

  /** A key, or `start:stop:step`. */
  #subscribed(): Expression {
    const start = this.isOperator(':') ? null : this.expression();
    if (!this.isOperator(':')) return start!;
    const part = (): Expression | null => {
      if (!this.skipIf('operator', ':')) return null;
      return this.isOperator(':') || this.isOperator(']') || this.isOperator(',') ? null : this.expression();
    };
    const stop = part();
    const step = part();
    return this.#above({ kind: 'slice', start, stop, step }, start, stop, step);
  }

  #call(node: Expression): Expression {
    const call = this.callArguments();
    return this.#above({ kind: 'call', node, call }, node, ...call.args, ...call.named.map(({ value }) => value));
  }

  protected callArguments(): Call {
    const { line } = this.expect('operator', '(');
    const args: Expression[] = [];
    const named: { key: string; value: Expression }[] = [];
    let rest: Expression | null = null;
    let namedRest: Expression | null = null;
    const ensure = (holds: boolean) => holds || this.fail('invalid syntax for function call expression', line);
    for (let first = true; !this.isOperator(')'); first = false) {
      if (!first) {
        this.expect('operator', ',');
        if (this.isOperator(')')) break;
      }
      if (this.skipIf('operator', '*')) {
        ensure(rest === null && namedRest === null);
        rest = this.expression();
      } else if (this.skipIf('operator', '**')) {
        ensure(namedRest === null);
        namedRest = this.expression();
      } else if (this.is('name') && this.look().type === 'operator' && this.look().text === '=') {
        ensure(namedRest === null);
        const key = this.next().text;
        this.next();
        // Python refuses to compile a call that names one argument twice
        if (named.some((argument) => argument.key === key)) this.fail(`keyword argument repeated: ${key}`, line);
        named.push({ key, value: this.expression() });
      } else {
        ensure(rest === null && namedRest === null && named.length === 0);
        args.push(this.expression());
      }
    }
    this.expect('operator', ')');
    return { args, named, rest, namedRest };
  }

  /** `|name(…)|name`; with `inline`, the first bar is left out. */
  protected filter(node: Expression | null, inline = false): Expression | null {
    while (this.isOperator('|') || inline) {
      if (!inline) this.next();
      inline = false;
      const name = this.#dottedName();
      const call = this.isOperator('(') ? this.callArguments() : NO_CALL;
      node = this.#above({ kind: 'filter', node, name, call }, node, ...call.args);
    }
    return node;
  }

  #dottedName(): string {
    let name = this.expect('name').text;
    while (this.skipIf('operator', '.')) name += `.${this.expect('name').text}`;
    return name;
  }

  #test(node: Expression): Expression {
    this.next();
    const negated = this.skipIf('name', 'not');
    const name = this.#dottedName();
    let call = NO_CALL;
    if (this.isOperator('(')) call = this.callArguments();
    else if (this.#argumentFollows()) {
      if (this.isName('is')) this.fail('You cannot chain multiple tests with is');
      call = { ...NO_CALL, args: [this.#postfix(this.primary(false))] };
    }
    const test = this.#above({ kind: 'test', node, name, call }, node, ...call.args);
    return negated ? this.#above({ kind: 'unary', operator: 'not', node: test }, test) : test;
  }

  /** A test's one argument may stand without parentheses. */
  #argumentFollows(): boolean {
    const { type, text } = this.current;
    if (type === 'name') return !['else', 'or', 'and'].includes(text);
    return ['string', 'integer', 'float'].includes(type) || this.isOperator('[') || this.isOperator('{');
  }

  /** What an assignment writes to: a name, a namespace's attribute, or a tuple of those. */
  protected target(
    options: { readonly namespaces?: boolean; readonly endsAt?: string; readonly as?: 'param' } = {},
  ): Expression {
    const node = this.tuple({ target: true, ...options });
    this.#store(node, options.as ?? 'store');
    return node;
  }

  protected nameTarget(as: 'store' | 'param'): NameNode {
    const name = this.expect('name').text;
    if (['true', 'True', 'false', 'False', 'none', 'None'].includes(name)) this.fail(`can't assign to '${name}'`);
    return { kind: 'name', name, context: as };
  }

  #store(node: Expression, context: 'store' | 'param'): void {
    if (node.kind === 'name') node.context = context;
    else if (node.kind === 'tuple') for (const item of node.items) this.#store(item, context);
    else if (node.kind !== 'namespaceRef') this.fail(`can't assign to '${node.kind}'`);
  }
}

function numberOf(token: Token): number | bigint | Float {
  return typeof token.number === 'bigint' ? integer(token.number) : new Float(token.number!);
}
