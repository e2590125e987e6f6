/** What stands before the options: texts, token ids, messages. */
import { EspalierError } from '../errors.ts';
import { readable } from '../options/check.ts';
import { shown } from '../options/shown.ts';
import type { ChatMessage } from './text/chat.ts';

/** Token ids of one text. Of lists and arrays alike: integers that the model's vocabulary has. */
export type TokenIds = readonly number[] | Int32Array | Uint32Array | Uint16Array;

/** What a text goes on from: a text, its token ids, or the messages of a conversation. */
export type Prompt = string | TokenIds | readonly ChatMessage[];

const ID_LIST = 'a list of token ids, or an Int32Array, Uint32Array or Uint16Array of them';

/** A text, or token ids as a list of their own. @throws E_ARGUMENT */
export function checkedTextOrIds(value: unknown, name: string, vocabSize: number): string | number[] {
  return readable(name, () => {
    if (typeof value === 'string') return value;
    if (isIdArray(value) || Array.isArray(value)) return idsOf(value, name, vocabSize, 1);
    throw new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, `Give a text, or ${ID_LIST}.`);
  });
}

/** What `generate` goes on from. @throws E_ARGUMENT */
export function checkedPrompt(
  value: unknown,
  name: string,
  vocabSize: number,
): string | number[] | readonly ChatMessage[] {
  return readable(name, () => {
    if (typeof value === 'string') return value;
    if (isIdArray(value)) return idsOf(value, name, vocabSize, 1);
    if (Array.isArray(value)) {
      const first: unknown = value[0];
      if (typeof first === 'object' && first !== null && !Array.isArray(first)) return checkedMessages(value, name);
      if (typeof first !== 'string') return idsOf(value, name, vocabSize, 1);
      throw new EspalierError(
        'E_ARGUMENT',
        `${name} is a list of texts.`,
        'Give one text, or a conversation as [{ role: "user", content: "…" }].',
      );
    }
    const hint =
      typeof value === 'object' && value !== null && 'role' in value
        ? 'Put the message into a list: [{ role: "user", content: "…" }].'
        : `Give a text, ${ID_LIST}, or a conversation as [{ role: "user", content: "…" }].`;
    throw new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, hint);
  });
}

/** What `embed` takes, as a list of texts; of an empty list, none. @throws E_ARGUMENT */
export function checkedTexts(value: unknown, name: string, vocabSize: number): (string | number[])[] {
  return readable(name, () => {
    if (typeof value === 'string' || isIdArray(value)) return [checkedTextOrIds(value, name, vocabSize)];
    if (!Array.isArray(value)) {
      const hint = `Give a text, a list of texts, ${ID_LIST}, or a list of such.`;
      throw new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, hint);
    }
    if (typeof value[0] === 'number') return [idsOf(value, name, vocabSize, 1)];
    return Array.from({ length: value.length }, (_, i) => checkedTextOrIds(value[i], `${name}[${i}]`, vocabSize));
  });
}

/** A list of texts, each a text or token ids. @throws E_ARGUMENT */
export function checkedList(value: unknown, name: string, vocabSize: number): (string | number[])[] {
  return readable(name, () => {
    if (Array.isArray(value) && typeof value[0] !== 'number') return checkedTexts(value, name, vocabSize);
    throw new EspalierError('E_ARGUMENT', `${name} are ${shown(value)}.`, 'Give a list of texts, or of lists of ids.');
  });
}

/**
 * A conversation, as far as templates have nothing to say about it.
 * @throws E_ARGUMENT
 */
export function checkedMessages(value: unknown, name: string): readonly ChatMessage[] {
  return readable(name, () => {
    const hint = 'Pass [{ role: "user", content: "…" }].';
    if (!Array.isArray(value)) throw new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, hint);
    return Array.from({ length: value.length }, (_, i): ChatMessage => {
      const message: unknown = value[i];
      if (typeof message !== 'object' || message === null || Array.isArray(message)) {
        throw new EspalierError('E_ARGUMENT', `${name}[${i}] is ${i in value ? shown(message) : 'missing'}.`, hint);
      }
      const { role } = message as { role?: unknown };
      if (typeof role === 'string' && role !== '') return message as ChatMessage;
      throw new EspalierError(
        'E_ARGUMENT',
        role === undefined ? `${name}[${i}] has no role.` : `The role of ${name}[${i}] is ${shown(role)}.`,
        'Give each message a role, such as "user".',
      );
    });
  });
}

/** Ids for `decode`, which passes over those that the vocabulary has not. @throws E_ARGUMENT */
export function checkedAnyIds(value: unknown, name: string): number[] {
  return readable(name, () => {
    if (isIdArray(value) || Array.isArray(value)) return idsOf(value, name, null, 0);
    if (typeof value === 'object' && value !== null && Symbol.iterator in value) {
      return idsOf([...(value as Iterable<unknown>)], name, null, 0);
    }
    throw new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, `Give ${ID_LIST}.`);
  });
}

function isIdArray(value: unknown): value is Int32Array | Uint32Array | Uint16Array {
  return value instanceof Int32Array || value instanceof Uint32Array || value instanceof Uint16Array;
}

/** @param vocabSize null: any integers do */
function idsOf(value: ArrayLike<unknown>, name: string, vocabSize: number | null, least: number): number[] {
  const { length } = value;
  if (length < least) throw new EspalierError('E_ARGUMENT', `${name} is an empty list.`, 'Give at least one token.');
  const ids: number[] = [];
  for (let i = 0; i < length; i++) {
    const id = value[i];
    const fits = vocabSize === null ? Number.isSafeInteger(id) : isIn(id, vocabSize);
    if (!fits) throw wrongId(`${name}[${i}]`, i in value ? shown(id) : 'missing', vocabSize);
    ids.push(id as number);
  }
  return ids;
}

const isIn = (id: unknown, vocabSize: number): boolean =>
  Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;

function wrongId(name: string, is: string, vocabSize: number | null): EspalierError {
  const hint = vocabSize === null ? 'Token ids are integers.' : `Token ids are integers from 0 to ${vocabSize - 1}.`;
  return new EspalierError('E_ARGUMENT', `${name} is ${is}.`, hint);
}
