/** What showing takes beside options: models, shots, examples, templates, texts. */
import type { Example } from '../datasets/data.ts';
import type { Template } from '../datasets/templates.ts';
import { EspalierError } from '../errors.ts';
import type { LocalModel } from '../model/model.ts';
import type { EncodedQuery, Shot } from '../show/types.ts';
import { readable } from './check.ts';
import { listOf, text } from './rules.ts';
import { shown } from './shown.ts';

function refused(what: string, hint: string): EspalierError {
  return new EspalierError('E_ARGUMENT', what, hint);
}

/** A model of this thread. One of an engine has promises where this has numbers. @throws E_ARGUMENT */
export function checkedModel(model: unknown): LocalModel {
  return readable('The model', () => {
    const { decoder, tokenizer, device } = (model ?? {}) as Partial<LocalModel>;
    if (decoder && tokenizer && device) return model as LocalModel;
    throw refused(`The model is ${shown(model)}.`, 'Give what openLocal() of espalier/local opens.');
  });
}

/** @throws E_ARGUMENT */
export function checkedText(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  throw refused(`${name} is ${shown(value)}.`, 'Give a text.');
}

type Member = readonly [name: string, optional: boolean];

/** A list of objects whose named members are texts; others may be there. @throws E_ARGUMENT */
function checkedList<T>(list: unknown, name: string, members: readonly Member[]): readonly T[] {
  return readable(name, () => {
    if (!Array.isArray(list)) throw refused(`${name} are ${shown(list)}.`, 'Give a list.');
    for (let i = 0; i < list.length; i++) {
      const one: unknown = list[i];
      if (typeof one !== 'object' || one === null) {
        throw refused(
          `${name}[${i}] is ${shown(one)}.`,
          `Give objects with ${members.map(([member]) => member).join(', ')}.`,
        );
      }
      for (const [member, optional] of members) {
        const value = (one as Readonly<Record<string, unknown>>)[member];
        if (typeof value === 'string' || (optional && value === undefined)) continue;
        throw refused(`${name}[${i}].${member} is ${shown(value)}.`, 'Give a text.');
      }
    }
    return list as readonly T[];
  });
}

const idList = listOf(text());

/** Of shots. @throws E_ARGUMENT */
export function checkedIds(ids: unknown): readonly string[] {
  return readable('ids', () => idList.check(ids, 'ids'));
}

/** @throws E_ARGUMENT */
export function checkedShots(shots: unknown): readonly Shot[] {
  return checkedList(shots, 'shots', [
    ['id', false],
    ['text', false],
    ['label', true],
    ['input', true],
  ]);
}

/** @throws E_ARGUMENT */
export function checkedExamples(examples: unknown, name: string): readonly Example[] {
  return checkedList(examples, name, [
    ['input', false],
    ['output', false],
  ]);
}

/** What `encodeQuery` gives. @throws E_ARGUMENT */
export function checkedQuery(query: unknown): EncodedQuery {
  return readable('The query', () => {
    const { text, ids, vector, centre } = (query ?? {}) as Partial<EncodedQuery>;
    const floats = (value: unknown) => value === null || value instanceof Float32Array;
    if (typeof text === 'string' && Array.isArray(ids) && floats(vector) && floats(centre))
      return query as EncodedQuery;
    throw refused(`The query is ${shown(query)}.`, 'Give what encodeQuery() of the pool gave.');
  });
}

/** @throws E_ARGUMENT */
export function checkedItems<T>(items: unknown): readonly T[] {
  return checkedList(items, 'dev', [
    ['query', false],
    ['label', false],
    ['input', true],
  ]);
}

/** @throws E_ARGUMENT */
export function checkedTemplate(template: unknown): Template {
  const { input, output, separator } = (template ?? {}) as Partial<Template>;
  if (typeof input === 'string' && typeof output === 'string' && typeof separator === 'string')
    return template as Template;
  throw refused(`The template is ${shown(template)}.`, 'Give one of TEMPLATES, or what namedTemplate() makes.');
}
