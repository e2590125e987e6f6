/** `for`: the frames of its parts, its condition, its recursion. */
import { compile } from './expressions.ts';
import { type Execute, type Frame, Scope, within } from './frame.ts';
import { type Expression, type Statement, TemplateSyntaxError } from './nodes.ts';
import { iterate, truth } from './operators.ts';
import { Activation, Loop, nested } from './runtime.ts';
import { descendants, undeclared } from './symbols.ts';
import { type Str, TextBuilder } from './text.ts';
import { Iter, Tuple, type Value } from './values.ts';

type For = Extract<Statement, { kind: 'for' }>;
type CompileBody = (body: readonly Statement[], frame: Frame) => Execute;
type CompileTarget = (target: Expression, frame: Frame) => (at: Activation, value: Value) => void;

export function compileFor(node: For, frame: Frame, compileBody: CompileBody, compileTarget: CompileTarget): Execute {
  const filter = node.test && compileCondition(node, node.test, frame, compileTarget);
  const inner = within(frame, {
    inLoop: true,
    ...(node.recursive ? { scope: (level: number) => new Scope(frame.scope, level) } : {}),
  });
  const loopVariable = usesLoop(node) ? inner.symbols.parameter('loop') : null;
  inner.symbols.declare(node.target);
  inner.symbols.analyse(node.body);
  forbidLoopTarget(node);

  const iterable = compile(node.iterable, frame);
  const write = compileTarget(node.target, inner);
  const loopSlot = loopVariable === null ? null : inner.scope.slot(loopVariable);
  const [enter, leave] = [inner.enter(), inner.leave()];
  const body = compileBody(node.body, inner);
  const otherwise = node.otherwise.length === 0 ? null : compileElse(node, frame, inner, compileBody);

  const run = (at: Activation, out: TextBuilder, source: Value, recurse: Recurse | null, depth: number) => {
    const loop = loopSlot === null ? null : new Loop(at.run, source, recurse, depth);
    const iterator = loop === null ? iterate(at.run.work, source) : null;
    // as in Jinja2, a round that `continue` or `break` leaves does not count: `else` runs unless one round was whole
    let whole = false;
    for (;;) {
      const value = loop === null ? pull(iterator!) : loop.next();
      if (value === undefined) break;
      at.run.work.step();
      write(at, value);
      if (loop !== null) at.slots[loopSlot!] = loop;
      enter(at);
      const signal = body(at, out);
      if (signal === 'break') break;
      if (signal === undefined) whole = true;
    }
    leave(at);
    return whole || otherwise === null ? undefined : otherwise(at, out);
  };
  if (!node.recursive) {
    return (at, out) => {
      const source = iterable(at);
      return run(at, out, filter ? new Iter(filter(at, source)) : source, null, 0);
    };
  }
  return (from, out) => {
    const render: Recurse = (source, depth) =>
      nested(from.run, () => {
        const at = new Activation(from.run, from.context, from, inner.scope.size);
        const buffer = new TextBuilder(from.run.work);
        run(at, buffer, filter ? new Iter(filter(from, source)) : source, render, depth);
        return buffer.done();
      });
    out.push(render(iterable(from), 0));
    return undefined;
  };
}

type Recurse = (source: Value, depth: number) => Str;

function pull(iterator: Iterator<Value>): Value | undefined {
  const next = iterator.next();
  return next.done ? undefined : next.value;
}

/** Whether the loop needs its variable `loop`. */
function usesLoop(node: For): boolean {
  if (node.recursive || undeclared(node.body, ['loop']).has('loop')) return true;
  for (const child of descendants(node)) if (child.kind === 'block' && child.scoped) return true;
  return false;
}

function forbidLoopTarget(node: For): void {
  for (const child of descendants(node)) {
    if (child.kind === 'name' && child.context === 'store' && child.name === 'loop') {
      throw new TemplateSyntaxError("Can't assign to special loop variable in for-loop target", node.line);
    }
  }
}

function compileElse(node: For, frame: Frame, inner: Frame, compileBody: CompileBody): Execute {
  const otherwise = within(frame, {
    ...(node.recursive ? { scope: () => inner.scope, inLoop: false } : { inLoop: frame.inLoop }),
  });
  otherwise.symbols.analyse(node.otherwise);
  const [enter, leave] = [otherwise.enter(), otherwise.leave()];
  const body = compileBody(node.otherwise, otherwise);
  return (at, out) => {
    enter(at);
    const signal = body(at, out);
    if (signal === undefined) leave(at);
    return signal;
  };
}

/** `for x in y if condition`: a generator of its own, which gives the elements on demand. */
function compileCondition(
  node: For,
  condition: Expression,
  frame: Frame,
  compileTarget: CompileTarget,
): (from: Activation, source: Value) => Iterator<Value> {
  const inner = within(frame, { scope: (level) => new Scope(frame.scope, level) });
  inner.symbols.declare(node.target);
  inner.symbols.analyse([condition]);
  const enter = inner.enter();
  const write = compileTarget(node.target, inner);
  const read = compileRead(node.target, inner);
  const test = compile(condition, inner);
  return function* (from, source) {
    const at = new Activation(from.run, from.context, from, inner.scope.size);
    enter(at);
    const iterator = iterate(from.run.work, source);
    for (let value = pull(iterator); value !== undefined; value = pull(iterator)) {
      from.run.work.step();
      write(at, value);
      if (truth(test(at))) yield read(at);
    }
  };
}

/** What a target holds: a tuple's parts make a tuple again. */
function compileRead(target: Expression, frame: Frame): (at: Activation) => Value {
  if (target.kind !== 'tuple')
    return compile({ kind: 'name', name: (target as { name: string }).name, context: 'load' }, frame);
  const parts = target.items.map((item) => compileRead(item, frame));
  return (at) => new Tuple(parts.map((part) => part(at)));
}
