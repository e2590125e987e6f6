/** Turns statements into functions that run them. */
import { compile, compileArguments, compileFilter } from './expressions.ts';
import { type Compute, type Execute, Frame, Scope, within } from './frame.ts';
import { compileFor } from './loops.ts';
import {
  childrenOf,
  type Expression,
  type Node,
  type Parameters,
  type Statement,
  TemplateSyntaxError,
} from './nodes.ts';
import { iterate, truth } from './operators.ts';
import { toText } from './repr.ts';
import {
  Activation,
  type Block,
  Context,
  call,
  Macro,
  MISSING,
  nested,
  type Run,
  TemplateReference,
} from './runtime.ts';
import { descendants, Symbols, targetNames, undeclared } from './symbols.ts';
import { Str, TextBuilder } from './text.ts';
import { type Arguments, Namespace, raise, type Value } from './values.ts';

/** A template, ready to run. */
export type Program = (run: Run, given: ReadonlyMap<string, Value>) => Str;

/** @throws TemplateSyntaxError, PythonError for what Jinja2 would not compile */
export function compileTemplate(body: readonly Statement[]): Program {
  const blocks = new Map<string, Block>();
  const root: Node = { kind: 'if', test: { kind: 'constant', value: null }, body, elifs: [], otherwise: [] };
  for (const node of descendants(root)) {
    if (node.kind !== 'block') continue;
    if (blocks.has(node.name)) throw new TemplateSyntaxError(`block '${node.name}' defined twice`, node.line);
    blocks.set(node.name, compileRoot(node.body, ['self', 'super'], false));
  }
  const main = compileRoot(body, ['self'], true);
  return (run, given) => main(run, new Context(given, blocks));
}

/** The template's own body, or that of a block, which sees only the context. */
function compileRoot(body: readonly Statement[], special: readonly string[], toplevel: boolean): Block {
  const symbols = new Symbols(null);
  const frame = new Frame(symbols, new Scope(null, 0), toplevel);
  const used = undeclared(body, special);
  if (used.has('super')) raise('Unsupported', 'super() has no block to stand for: a chat template extends nothing');
  const self = used.has('self') ? symbols.parameter('self') : null;
  symbols.analyse(body);
  const enter = frame.enter();
  const run = compileAll(body, frame);
  const place = self === null ? null : frame.place(self);
  return (state, context) =>
    nested(state, () => {
      const at = new Activation(state, context, null, frame.scope.size);
      if (place) at.slots[place.slot] = new TemplateReference(state, context);
      enter(at);
      const out = new TextBuilder(state.work);
      run(at, out);
      return out.done();
    });
}

function compileAll(body: readonly Statement[], frame: Frame): Execute {
  const all = body.map((statement) => compileStatement(statement, frame));
  return (at, out) => {
    for (const execute of all) {
      at.run.work.step();
      const signal = execute(at, out);
      if (signal !== undefined) return signal;
    }
    return undefined;
  };
}

function compileStatement(node: Statement, frame: Frame): Execute {
  switch (node.kind) {
    case 'output':
      return compileOutput(node.nodes, frame);
    case 'if':
      return compileIf(node, frame.branch());
    case 'for':
      return compileFor(node, frame, compileAll, compileTarget);
    case 'assign':
      return compileAssign(node, frame);
    case 'assignBlock':
      return compileAssignBlock(node, frame);
    case 'macro': {
      const make = compileMacro(node, node.name, node.body, frame);
      const write = publisher({ kind: 'name', name: node.name, context: 'store' }, frame);
      return (at) => void write(at, make(at));
    }
    case 'callBlock':
      return compileCallBlock(node, frame);
    case 'filterBlock':
      return compileFilterBlock(node, frame);
    case 'with':
      return compileWith(node, frame);
    case 'block':
      return compileBlock(node, frame);
    case 'break':
    case 'continue': {
      if (!frame.inLoop) throw new TemplateSyntaxError(`'${node.kind}' outside loop`, node.line);
      const { kind } = node;
      return () => kind;
    }
    default:
      return node satisfies never;
  }
}

function compileOutput(nodes: readonly Expression[], frame: Frame): Execute {
  const all = nodes.map((node) => compile(node, frame));
  return (at, out) => {
    for (const compute of all) out.push(toText(at.run.work, compute(at)));
    return undefined;
  };
}

function compileIf(node: Extract<Statement, { kind: 'if' }>, frame: Frame): Execute {
  const branches = [node, ...node.elifs].map((branch) => ({
    test: compile(branch.test, frame),
    body: compileAll(branch.body, frame),
  }));
  const otherwise = compileAll(node.otherwise, frame);
  return (at, out) => {
    for (const { test, body } of branches) if (truth(test(at))) return body(at, out);
    return otherwise(at, out);
  };
}

/** Writes a value to a name, to the names of a tuple, or to a namespace's attribute. */
function compileTarget(target: Expression, frame: Frame): (at: Activation, value: Value) => void {
  if (target.kind === 'name') return frame.writer(target.name);
  if (target.kind === 'namespaceRef') {
    const namespace = frame.reader(target.name);
    return (at, value) => {
      const owner = namespace(at);
      if (!(owner instanceof Namespace)) raise('TemplateError', 'cannot assign attribute on non-namespace object');
      owner.assign(target.attribute, value);
    };
  }
  if (target.kind !== 'tuple') return raise('TemplateError', 'this cannot be assigned to');
  const parts = target.items.map((item) => compileTarget(item, frame));
  return (at, value) => {
    const iterator = iterate(at.run.work, value);
    const values: Value[] = [];
    for (let next = iterator.next(); !next.done; next = iterator.next()) {
      values.push(next.value);
      if (values.length > parts.length) raise('ValueError', `too many values to unpack (expected ${parts.length})`);
    }
    if (values.length < parts.length) raise('ValueError', `not enough values to unpack (expected ${parts.length})`);
    parts.forEach((write, i) => {
      write(at, values[i]!);
    });
  };
}

/** As `compileTarget`; what the top level sets is seen by blocks too. */
function publisher(target: Expression, frame: Frame): (at: Activation, value: Value) => void {
  const write = compileTarget(target, frame);
  if (!frame.toplevel) return write;
  const names = targetNames(target).map((name) => [name, frame.place(frame.variable(name)).slot] as const);
  return (at, value) => {
    write(at, value);
    for (const [name, slot] of names) at.context.set.set(name, at.slots[slot] as Value);
  };
}

function compileAssign(node: Extract<Statement, { kind: 'assign' }>, frame: Frame): Execute {
  const value = compile(node.value, frame);
  const write = publisher(node.target, frame);
  return (at) => void write(at, value(at));
}

function compileAssignBlock(node: Extract<Statement, { kind: 'assignBlock' }>, frame: Frame): Execute {
  const inner = within(frame);
  inner.symbols.analyse(node.body);
  const body = compileAll(node.body, inner);
  const filter = node.filter && compileFilterChain(node.filter, inner);
  const [enter, leave] = [inner.enter(), inner.leave()];
  const write = publisher(node.target, frame);
  return (at) => {
    enter(at);
    const out = new TextBuilder(at.run.work);
    const signal = body(at, out);
    if (signal !== undefined) return signal;
    const text = out.done();
    write(at, filter ? filter(at, text) : text);
    leave(at);
    return undefined;
  };
}

/** Filters in a row, the innermost of which has no value of its own. */
function compileFilterChain(node: Expression, frame: Frame): (at: Activation, value: Value) => Value {
  if (node.kind !== 'filter') return raise('TemplateError', 'a filter is wanted');
  let subject: Value = null;
  const inner = node.node === null ? null : compileFilterChain(node.node, frame);
  const filter = compileFilter(node, () => subject, frame);
  return (at, value) => {
    subject = inner ? inner(at, value) : value;
    return filter(at);
  };
}

function compileFilterBlock(node: Extract<Statement, { kind: 'filterBlock' }>, frame: Frame): Execute {
  const inner = within(frame);
  inner.symbols.analyse(childrenOf(node));
  const body = compileAll(node.body, inner);
  const filter = compileFilterChain(node.filter, inner);
  const [enter, leave] = [inner.enter(), inner.leave()];
  return (at, out) => {
    enter(at);
    const buffer = new TextBuilder(at.run.work);
    const signal = body(at, buffer);
    if (signal !== undefined) return signal;
    out.push(written(filter(at, buffer.done())));
    leave(at);
    return undefined;
  };
}

function compileWith(node: Extract<Statement, { kind: 'with' }>, frame: Frame): Execute {
  const inner = within(frame);
  for (const target of node.targets) inner.symbols.declare(target);
  inner.symbols.analyse(node.body);
  const [enter, leave] = [inner.enter(), inner.leave()];
  const pairs = node.targets.map(
    (target, i) => [compileTarget(target, inner), compile(node.values[i]!, frame)] as const,
  );
  const body = compileAll(node.body, inner);
  return (at, out) => {
    enter(at);
    for (const [write, value] of pairs) write(at, value(at));
    const signal = body(at, out);
    if (signal === undefined) leave(at);
    return signal;
  };
}

function compileBlock(node: Extract<Statement, { kind: 'block' }>, frame: Frame): Execute {
  if (node.required) return () => raise('TemplateError', `Required block '${node.name}' not found`);
  const locals = node.scoped
    ? [...frame.symbols.written()].map(([name, variable]) => [name, frame.place(variable)] as const)
    : null;
  return (at, out) => {
    let { context } = at;
    if (locals) {
      const values = locals.map(([name, { hops, slot }]) => [name, at.outer(hops).slots[slot] ?? MISSING] as const);
      context = context.derived(new Map(values));
    }
    out.push(context.blocks.get(node.name)!(at.run, context));
    return undefined;
  };
}

/** What a block gives is written as it is: Jinja2 fails where it is no text. */
function written(value: Value): Str {
  return value instanceof Str ? value : raise('TypeError', 'a block gives something that is no text');
}

const SPECIAL = ['caller', 'kwargs', 'varargs'] as const;

/** A macro, or the body of a call block, in the frame where it stands. */
function compileMacro(
  node: Parameters & { readonly line: number },
  name: string | null,
  body: readonly Statement[],
  outer: Frame,
): (at: Activation) => Macro {
  const frame = within(outer, { scope: (level) => new Scope(outer.scope, level), inLoop: false });
  const { symbols } = frame;
  const read: Node[] = [...node.args, ...node.defaults, ...body];
  symbols.analyse(read);
  const parameters = node.args.map((arg) => arg.name);
  const used = undeclared(body, SPECIAL);
  const explicit = parameters.indexOf('caller');
  if (used.has('caller') && explicit >= 0 && explicit < parameters.length - node.defaults.length) {
    throw new TemplateSyntaxError('the special "caller" argument must be omitted or be given a default', node.line);
  }
  const takes = (special: (typeof SPECIAL)[number]) => used.has(special) && !parameters.includes(special);
  const extra = SPECIAL.filter(takes);
  const variables = [
    ...parameters.map((parameter) => symbols.find(parameter)!),
    ...extra.map((s) => symbols.parameter(s)),
  ];
  symbols.analyse(read);
  const slots = variables.map((variable) => frame.scope.slot(variable));
  const enter = frame.enter();
  const defaults = node.defaults.map((value) => compile(value, frame));
  const run = compileAll(body, frame);
  const shape = {
    name,
    parameters,
    takesCaller: used.has('caller'),
    takesNamed: extra.includes('kwargs'),
    takesRest: extra.includes('varargs'),
  };
  const missing = (parameter: number): Compute => frame.reader(parameters[parameter]!);
  const fill = parameters.map((_, i) => defaults[i - parameters.length + defaults.length] ?? missing(i));
  return (from) =>
    new Macro(shape, (args) =>
      nested(from.run, () => {
        const at = new Activation(from.run, from.context, from, frame.scope.size);
        args.forEach((arg, i) => {
          at.slots[slots[i]!] = arg;
        });
        enter(at);
        fill.forEach((value, i) => {
          if (at.slots[slots[i]!] === MISSING) at.slots[slots[i]!] = value(at);
        });
        const out = new TextBuilder(from.run.work);
        run(at, out);
        return out.done();
      }),
    );
}

function compileCallBlock(node: Extract<Statement, { kind: 'callBlock' }>, frame: Frame): Execute {
  const make = compileMacro(node, null, node.body, frame);
  if (node.call === null) {
    const none: Arguments = { positional: [], named: new Map() };
    return (at, out) => {
      out.push(written(make(at).call(at.run.work, none)));
      return undefined;
    };
  }
  const callee = compile(node.call.node, frame);
  const args = compileArguments(node.call.call, frame);
  return (at, out) => {
    const caller = make(at);
    const value = callee(at);
    const { positional, named } = args(at);
    if (named.has('caller')) raise('TypeError', "got multiple values for keyword argument 'caller'");
    const all = new Map([...named, ['caller', caller as Value]]);
    out.push(written(call(at.run.work, value, { positional, named: all })));
    return undefined;
  };
}
