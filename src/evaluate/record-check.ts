import { isOptions } from '../options/rules.ts';
import type { EvaluationRecord, ItemResult } from './types.ts';

const isText = (value: unknown): boolean => typeof value === 'string';
const isNumber = (value: unknown): boolean => Number.isFinite(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isListOf =
  (check: (value: unknown) => boolean) =>
  (value: unknown): boolean =>
    Array.isArray(value) && value.every(check);
const has =
  (members: Readonly<Record<string, (value: unknown) => boolean>>) =>
  (value: unknown): boolean =>
    isOptions(value) && Object.entries(members).every(([name, check]) => check(value[name]));

/** What every result has. */
const isResult = has({
  item: isCount,
  truth: isText,
  label: isText,
  shots: isNumber,
  firstMilliseconds: isNumber,
  milliseconds: isNumber,
  forwarded: isNumber,
  reused: isNumber,
} satisfies Partial<Record<keyof ItemResult, unknown>>);

/** What only some have, and results of earlier versions lack. */
const DETAILS = {
  top: isListOf(has({ label: isText, probability: isNumber })),
  entropy: isNumber,
  shown: isListOf(isText),
  tried: isListOf(has({ shots: isCount, entropy: isNumber, label: (value) => value === null || isText(value) })),
  threshold: isNumber,
} satisfies Partial<Record<keyof ItemResult, unknown>>;

/** Whether this is what `evaluate` records; of what was read from a file. */
export function isRecord(value: unknown): value is EvaluationRecord {
  if (!isOptions(value) || typeof value['arm'] !== 'string' || !Number.isSafeInteger(value['seed'])) return false;
  if (value['skipped'] !== undefined) return isText(value['skipped']);
  return (
    isResult(value) && Object.entries(DETAILS).every(([name, check]) => value[name] === undefined || check(value[name]))
  );
}
