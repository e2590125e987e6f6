/** What showing takes beside options: models, shots, queries. */
import type { LocalModel } from '../model/model.ts';
import { unsupported } from '../model/routed/cache.ts';
import { RoutedDecoder } from '../model/routed/decoder.ts';
import { readable } from '../options/check.ts';
import { listOf, text } from '../options/rules.ts';
import { shown } from '../options/shown.ts';
import { checkedList, refused } from '../options/texts.ts';
import type { EncodedQuery, Shot } from './types.ts';

/**
 * A model of this thread. One of an engine has promises where this has numbers.
 * @throws E_ARGUMENT; E_ADAPTER for one whose experts are chosen by what came before: what is shown has to stand anywhere
 */
export function checkedModel(model: unknown): LocalModel {
  return readable('The model', () => {
    const { decoder, tokenizer, device } = (model ?? {}) as Partial<LocalModel>;
    if (decoder instanceof RoutedDecoder) {
      throw unsupported('Examples cannot be shown to a model with an adapter that acts by position.');
    }
    if (decoder && tokenizer && device) return model as LocalModel;
    throw refused(`The model is ${shown(model)}.`, 'Give what openLocal() of espalier/local opens.');
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

/** What `encodeQuery` gives. @throws E_ARGUMENT */
export function checkedQuery(query: unknown): EncodedQuery {
  return readable('The query', () => {
    const { text, ids, vector, centre, features } = (query ?? {}) as Partial<EncodedQuery>;
    const floats = (value: unknown) => value === null || value instanceof Float32Array;
    if (typeof text === 'string' && Array.isArray(ids) && floats(vector) && floats(centre) && floats(features))
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
