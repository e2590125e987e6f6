/** Jinja2 as chat templates use it: compiles a template once, renders it within a budget. */
import { Budget, BudgetError } from './budget.ts';
import type { CallerValues } from './caller-values.ts';
import { defineFilters } from './filters.ts';
import { globals } from './globals.ts';
import { parse } from './parser.ts';
import { compileTemplate } from './statements.ts';
import { defineTests } from './tests.ts';
import type { Str } from './text.ts';
import type { Value } from './values.ts';

export interface Template {
  /** @throws BudgetError, PythonError, Objection, RangeError where the host's stack ends */
  render(names: ReadonlyMap<string, Value>, size: Pick<CallerValues, 'characters' | 'count'>, now: Date): Str;
}

defineFilters();
defineTests();

/** Characters of a template; published ones have up to some 30,000. */
const LONGEST = 4 << 20;

/** @throws TemplateSyntaxError, BudgetError, PythonError */
export function readTemplate(source: string): Template {
  if (source.length > LONGEST) throw new BudgetError(`it has more than ${LONGEST} characters`);
  const program = compileTemplate(parse(source));
  return {
    render: (names, size, now) => {
      const work = new Budget(size.characters + source.length, size.count);
      return program({ work, depth: 0 }, new Map([...globals(now), ...names]));
    },
  };
}
