/** Chat templates, of which a model may have several by name. */
import type { TokenizerSpec } from './types.ts';

/** Templates by name of a text, a list of `{ name, template }`, or texts by name; null where there are none. */
export function templatesOf(value: unknown): ReadonlyMap<string, string> | null {
  if (typeof value === 'string') return new Map([['default', value]]);
  if (typeof value !== 'object' || value === null) return null;
  const pairs: [unknown, unknown][] = Array.isArray(value)
    ? value.map((item) => [item?.name, item?.template])
    : Object.entries(value);
  const isNamed = (pair: [unknown, unknown]): pair is [string, string] =>
    typeof pair[0] === 'string' && typeof pair[1] === 'string';
  const templates = new Map(pairs.filter(isNamed));
  return templates.size === 0 ? null : templates;
}

/** The one called `default` apart from the others. */
export function byName(templates: ReadonlyMap<string, string>): Pick<TokenizerSpec, 'chatTemplate' | 'namedTemplates'> {
  const named = new Map(templates);
  named.delete('default');
  return { chatTemplate: templates.get('default') ?? null, ...(named.size > 0 && { namedTemplates: named }) };
}
