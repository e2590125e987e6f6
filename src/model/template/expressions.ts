/** Turns expressions into functions that compute them. */
import { getAttribute, getItem } from './attributes.ts';
import { FILTERS, TESTS } from './filter.ts';
import { type Compute, type Frame, isConstant } from './frame.ts';
import { type Call, type ComparisonOperator, type Expression, TemplateSyntaxError } from './nodes.ts';
import { compareNumbers, negate, positive } from './numbers.ts';
import { binary, compare, contains, equals, listOf, slice, truth } from './operators.ts';
import { toText } from './repr.ts';
import { type Activation, call } from './runtime.ts';
import { Str, TextBuilder } from './text.ts';
import {
  type Arguments,
  Dict,
  Float,
  isNumber,
  List,
  raise,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

/** Every expression that does something pays for itself. */
const step =
  (compute: Compute): Compute =>
  (at) => {
    at.run.work.step();
    return compute(at);
  };

export function compile(node: Expression, frame: Frame): Compute {
  switch (node.kind) {
    case 'constant':
      return () => node.value;
    case 'data': {
      const text = new Str(node.text);
      return () => text;
    }
    case 'name':
      return step(frame.reader(node.name));
    case 'tuple': {
      const items = node.items.map((item) => compile(item, frame));
      return step((at) => new Tuple(items.map((item) => item(at))));
    }
    case 'list': {
      const items = node.items.map((item) => compile(item, frame));
      return step((at) => new List(items.map((item) => item(at))));
    }
    case 'dict': {
      const pairs = node.pairs.map(([key, value]) => [compile(key, frame), compile(value, frame)] as const);
      return step((at) => {
        const dict = new Dict();
        for (const [key, value] of pairs) dict.set(at.run.work, key(at), value(at));
        return dict;
      });
    }
    case 'condition':
      return compileCondition(node, frame.branch());
    case 'filter': {
      if (node.node === null) throw new TemplateSyntaxError('a filter without a value', 0);
      return compileFilter(node, compile(node.node, frame), frame);
    }
    case 'test':
      return compileTest(node, frame);
    case 'call': {
      const callee = compile(node.node, frame);
      const args = compileArguments(node.call, frame);
      return (at) => call(at.run.work, callee(at), args(at));
    }
    case 'attribute': {
      const value = compile(node.node, frame);
      return (at) => getAttribute(at.run.work, value(at), node.name);
    }
    case 'item':
      return compileItem(node, frame);
    case 'concat':
      return compileConcat(node.nodes.map((item) => compile(item, frame)));
    case 'comparison':
      return compileComparison(node, frame);
    case 'unary':
      return compileUnary(node.operator, compile(node.node, frame));
    case 'binary':
      return compileBinary(node, frame);
    case 'slice':
      return raise('Unsupported', 'a slice among other keys is not computed');
    case 'namespaceRef':
      return raise('TemplateError', 'an assignment stands where a value is wanted');
    default:
      return node satisfies never;
  }
}

function compileCondition(node: Extract<Expression, { kind: 'condition' }>, frame: Frame): Compute {
  const test = compile(node.test, frame);
  const then = compile(node.then, frame);
  const otherwise = node.otherwise && compile(node.otherwise, frame);
  return step((at) => {
    if (truth(test(at))) return then(at);
    if (otherwise) return otherwise(at);
    return new Undefined('the inline if-expression evaluated to false and no else section was defined.');
  });
}

function compileItem(node: Extract<Expression, { kind: 'item' }>, frame: Frame): Compute {
  const value = compile(node.node, frame);
  if (node.key.kind === 'slice') {
    const [start, stop, by] = [node.key.start, node.key.stop, node.key.step].map(
      (part) => part && compile(part, frame),
    );
    const part = (compute: Compute | null | undefined, at: Activation) => (compute ? compute(at) : null);
    return step((at) => slice(at.run.work, value(at), part(start, at), part(stop, at), part(by, at)));
  }
  const key = compile(node.key, frame);
  return (at) => getItem(at.run.work, value(at), key(at));
}

function compileConcat(nodes: readonly Compute[]): Compute {
  return step((at) => {
    const { work } = at.run;
    const values = nodes.map((node) => toText(work, node(at)));
    const builder = new TextBuilder(work);
    for (const value of values) builder.push(value);
    return builder.done();
  });
}

function compileComparison(node: Extract<Expression, { kind: 'comparison' }>, frame: Frame): Compute {
  const first = compile(node.node, frame);
  const rest = node.operations.map(({ operator, node: operand }) => ({ operator, operand: compile(operand, frame) }));
  return step((at) => {
    let left = first(at);
    for (const { operator, operand } of rest) {
      const right = operand(at);
      if (!holds(at, operator, left, right)) return false;
      left = right;
    }
    return true;
  });
}

function holds({ run: { work } }: Activation, operator: ComparisonOperator, left: Value, right: Value): boolean {
  switch (operator) {
    case '==':
      return equals(work, left, right);
    case '!=':
      return !equals(work, left, right);
    case '<':
      return compare(work, left, right, operator) < 0;
    case '<=':
      return compare(work, left, right, operator) <= 0;
    case '>':
      return compare(work, left, right, operator) > 0;
    case '>=':
      return compare(work, left, right, operator) >= 0;
    case 'in':
      return contains(work, right, left);
    case 'not in':
      return !contains(work, right, left);
    default:
      return operator satisfies never;
  }
}

function compileUnary(operator: 'not' | '-' | '+', value: Compute): Compute {
  switch (operator) {
    case 'not':
      return step((at) => !truth(value(at)));
    case '-':
      return step((at) => negate(at.run.work, defined(value(at))));
    case '+':
      return step((at) => positive(defined(value(at))));
    default:
      return operator satisfies never;
  }
}

function defined(value: Value): Value {
  if (value instanceof Undefined) value.fail();
  return value;
}

function compileBinary(node: Extract<Expression, { kind: 'binary' }>, frame: Frame): Compute {
  const left = compile(node.left, frame);
  const right = compile(node.right, frame);
  const { operator } = node;
  if (operator === 'and' || operator === 'or') {
    return step((at) => {
      const value = left(at);
      return truth(value) === (operator === 'or') ? value : right(at);
    });
  }
  // Jinja2 writes -2 ** n into Python where the template has (-2) ** n, and Python takes the power first
  const powerFirst = operator === '**' && isConstant(node.left) && !isConstant(node.right);
  return step((at) => {
    const { work } = at.run;
    const base = left(at);
    const exponent = right(at);
    if (!powerFirst || !isNumber(base) || !isNegative(base)) return binary(work, operator, base, exponent);
    return negate(work, binary(work, operator, negate(work, base), exponent));
  });
}

const isNegative = (value: number | bigint | boolean | Float) =>
  compareNumbers(value, 0) < 0 || (value instanceof Float && Object.is(value.value, -0));

/** What a call gives, computed in the order that it is written. */
export function compileArguments(node: Call, frame: Frame): (at: Activation) => Arguments {
  const args = node.args.map((arg) => compile(arg, frame));
  const named = node.named.map(({ key, value }) => [key, compile(value, frame)] as const);
  const rest = node.rest && compile(node.rest, frame);
  const namedRest = node.namedRest && compile(node.namedRest, frame);
  return (at) => {
    const positional = args.map((arg) => arg(at));
    if (rest) for (const value of listOf(at.run.work, rest(at))) positional.push(value);
    const all = new Map(named.map(([key, value]) => [key, value(at)]));
    if (namedRest) addNamed(all, namedRest(at));
    return { positional, named: all };
  };
}

function addNamed(named: Map<string, Value>, values: Value): void {
  if (!(values instanceof Dict)) raise('TypeError', `argument after ** must be a mapping, not ${typeName(values)}`);
  for (const [key, value] of values.entries.values()) {
    if (!(key instanceof Str)) raise('TypeError', 'keywords must be strings');
    if (named.has(key.text)) raise('TypeError', `got multiple values for keyword argument '${key.text}'`);
    named.set(key.text, value);
  }
}

/** A filter applied to what `value` gives. */
export function compileFilter(node: Extract<Expression, { kind: 'filter' }>, value: Compute, frame: Frame): Compute {
  const filter = FILTERS.get(node.name);
  if (filter === undefined && !frame.soft) throw new TemplateSyntaxError(`No filter named '${node.name}'.`, 0);
  const args = compileArguments(node.call, frame);
  return step((at) => {
    const subject = value(at);
    const { positional, named } = args(at);
    if (filter === undefined) raise('TemplateError', `No filter named '${node.name}' found.`);
    return filter(at.run.work, { positional: [subject, ...positional], named });
  });
}

function compileTest(node: Extract<Expression, { kind: 'test' }>, frame: Frame): Compute {
  const test = TESTS.get(node.name);
  if (test === undefined && !frame.soft) throw new TemplateSyntaxError(`No test named '${node.name}'.`, 0);
  const value = compile(node.node, frame);
  const args = compileArguments(node.call, frame);
  return step((at) => {
    const subject = value(at);
    const { positional, named } = args(at);
    if (test === undefined) raise('TemplateError', `No test named '${node.name}' found.`);
    return test(at.run.work, { positional: [subject, ...positional], named });
  });
}
