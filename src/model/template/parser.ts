/** Jinja2's grammar of statements, with the tags that chat templates have: those of Jinja2, `break`, `continue`, `generation`. */

import { isAllSpace } from './characters.ts';
import { ExpressionParser } from './expression-parser.ts';
import { tokenize } from './lexer.ts';
import type { Expression, NameNode, Parameters, Statement } from './nodes.ts';

/** @throws TemplateSyntaxError */
export function parse(template: string): Statement[] {
  return new Parser(tokenize(template)).template();
}

class Parser extends ExpressionParser {
  template(): Statement[] {
    const body = this.#statements([]);
    if (!this.is('eof')) this.fail(`unexpected '${this.current.text}'`);
    return body;
  }

  /** Up to a tag of one of these names, which is left to the caller, or the end. */
  #statements(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    let output: Expression[] = [];
    const flush = () => {
      if (output.length > 0) body.push({ kind: 'output', nodes: output });
      output = [];
    };
    while (!this.is('eof')) {
      const token = this.next();
      if (token.type === 'data') output.push({ kind: 'data', text: token.text });
      else if (token.type === 'variable_begin') {
        output.push(this.tuple());
        this.expect('variable_end');
      } else {
        flush();
        if (this.is('name') && ends.includes(this.current.text)) return body;
        body.push(this.deeper(() => this.#statement()));
        this.expect('block_end');
      }
    }
    flush();
    return body;
  }

  /** The body of a tag, whose end is read too; gives which of the names ended it. */
  #body(...ends: readonly string[]): { readonly body: Statement[]; readonly end: string } {
    this.skipIf('operator', ':');
    this.expect('block_end');
    const body = this.#statements(ends);
    if (this.is('eof')) this.fail(`Unexpected end of template. Looking for ${ends.join(' or ')}.`);
    return { body, end: this.next().text };
  }

  #statement(): Statement {
    if (!this.is('name')) this.fail('tag name expected');
    const { text: tag, line } = this.next();
    switch (tag) {
      case 'for':
        return this.#for(line);
      case 'if':
        return this.#if();
      case 'set':
        return this.#set();
      case 'with':
        return this.#with();
      case 'macro': {
        const { name } = this.nameTarget('store');
        return { kind: 'macro', name, ...this.#parameters(), body: this.#body('endmacro').body, line };
      }
      case 'call':
        return this.#callBlock(line);
      case 'generation':
        return { kind: 'callBlock', call: null, args: [], defaults: [], body: this.#body('endgeneration').body, line };
      case 'filter': {
        const filter = this.filter(null, true)!;
        return { kind: 'filterBlock', filter, body: this.#body('endfilter').body };
      }
      case 'block':
        return this.#block(line);
      case 'print': {
        const nodes: Expression[] = [];
        while (!this.is('block_end')) {
          if (nodes.length > 0) this.expect('operator', ',');
          nodes.push(this.expression());
        }
        return { kind: 'output', nodes };
      }
      case 'break':
      case 'continue':
        return { kind: tag, line };
      case 'include':
      case 'import':
      case 'from':
      case 'extends':
        return this.fail(`{% ${tag} %} is refused: a chat template has no others beside it`, line);
      case 'autoescape':
        return this.fail('{% autoescape %} is not computed', line);
      default:
        return this.fail(`Encountered unknown tag '${tag}'.`, line);
    }
  }

  #for(line: number): Statement {
    const target = this.target({ endsAt: 'in' });
    this.expect('name', 'in');
    const iterable = this.tuple({ conditional: false, endsAt: 'recursive' });
    const test = this.skipIf('name', 'if') ? this.expression() : null;
    const recursive = this.skipIf('name', 'recursive');
    const { body, end } = this.#body('endfor', 'else');
    const otherwise = end === 'else' ? this.#body('endfor').body : [];
    return { kind: 'for', target, iterable, body, otherwise, test, recursive, line };
  }

  #if(): Statement {
    const branch = () => {
      const test = this.tuple({ conditional: false });
      return { test, ...this.#body('elif', 'else', 'endif') };
    };
    const first = branch();
    const elifs: Extract<Statement, { kind: 'if' }>[] = [];
    let { end } = first;
    while (end === 'elif') {
      const { test, body, end: next } = branch();
      elifs.push({ kind: 'if', test, body, elifs: [], otherwise: [] });
      end = next;
    }
    const otherwise = end === 'else' ? this.#body('endif').body : [];
    return { kind: 'if', test: first.test, body: first.body, elifs, otherwise };
  }

  #set(): Statement {
    const target = this.target({ namespaces: true });
    if (this.skipIf('operator', '=')) return { kind: 'assign', target, value: this.tuple() };
    const filter = this.filter(null);
    return { kind: 'assignBlock', target, filter, body: this.#body('endset').body };
  }

  #with(): Statement {
    const targets: Expression[] = [];
    const values: Expression[] = [];
    while (!this.is('block_end')) {
      if (targets.length > 0) this.expect('operator', ',');
      targets.push(this.target({ as: 'param' }));
      this.expect('operator', '=');
      values.push(this.expression());
    }
    return { kind: 'with', targets, values, body: this.#body('endwith').body };
  }

  #parameters(): Parameters {
    const args: NameNode[] = [];
    const defaults: Expression[] = [];
    this.expect('operator', '(');
    while (!this.isOperator(')')) {
      if (args.length > 0) this.expect('operator', ',');
      const arg = this.nameTarget('param');
      if (this.skipIf('operator', '=')) defaults.push(this.expression());
      else if (defaults.length > 0) this.fail('non-default argument follows default argument');
      if (args.some(({ name }) => name === arg.name)) this.fail(`duplicate argument '${arg.name}'`);
      args.push(arg);
    }
    this.expect('operator', ')');
    return { args, defaults };
  }

  #callBlock(line: number): Statement {
    const parameters = this.isOperator('(') ? this.#parameters() : { args: [], defaults: [] };
    const call = this.expression();
    if (call.kind !== 'call') this.fail('expected call', line);
    if (call.call.named.some(({ key }) => key === 'caller')) this.fail('keyword argument repeated: caller', line);
    return { kind: 'callBlock', call, ...parameters, body: this.#body('endcall').body, line };
  }

  #block(line: number): Statement {
    const name = this.expect('name').text;
    const scoped = this.skipIf('name', 'scoped');
    const required = this.skipIf('name', 'required');
    const { body } = this.#body('endblock');
    const blank = (node: Expression) => node.kind === 'data' && isAllSpace(node.text);
    if (required && !body.every((statement) => statement.kind === 'output' && statement.nodes.every(blank))) {
      this.fail('Required blocks can only contain comments or whitespace', line);
    }
    this.skipIf('name', name);
    return { kind: 'block', name, scoped, required, body, line };
  }
}
