import { EspalierError } from '../../errors.ts';

/** A JSON object whose members have not been looked at yet. */
export type Json = Record<string, unknown>;

export function invalidTokenizer(message: string, hint?: string, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_TOKENIZER_INVALID',
    message,
    hint ?? 'Use the tokenizer.json that was published with the model.',
    cause === undefined ? undefined : { cause },
  );
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws E_TOKENIZER_INVALID when `value` is not an object. */
export function asObject(value: unknown, what: string): Json {
  if (!isObject(value)) throw invalidTokenizer(`${what} is not an object.`);
  return value;
}

export function asArray(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidTokenizer(`${what} is not an array.`);
  return value;
}

export function asText(value: unknown, what: string): string {
  if (typeof value !== 'string') throw invalidTokenizer(`${what} is not a text.`);
  if (/\p{Surrogate}/u.test(value)) throw invalidTokenizer(`${what} is not valid Unicode.`);
  return value;
}

/** True or false; `absent` where there is none, or null. Without `absent` there must be one. */
export function asFlag(value: unknown, what: string, absent?: boolean): boolean {
  if (typeof value === 'boolean') return value;
  if (absent !== undefined && (value === undefined || value === null)) return absent;
  throw invalidTokenizer(`${what} is neither true nor false.`);
}

/** Below 2^24: far above any real vocabulary, low enough that a table over all ids is harmless. */
export function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 1 << 24;
}

export function asId(value: unknown, what: string): number {
  if (!isId(value)) {
    throw invalidTokenizer(`${what} is not a token id: ${String(value).slice(0, 40)}.`);
  }
  return value;
}

/** A text for a message: quoted, and not longer than a line. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
