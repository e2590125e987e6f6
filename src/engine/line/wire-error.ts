import { type ErrorCode, EspalierError } from '../../errors.ts';

/** An error as data: a structured clone of an Error would lose class, code and hint, and some of them cannot be cloned. */
export interface WireError {
  /** `value`: something else that was thrown. */
  readonly kind: 'espalier' | 'error' | 'exception' | 'value';
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code?: ErrorCode;
  readonly hint?: string;
  /** Plain properties, such as the `code` of Node's errors. */
  readonly properties: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: WireError;
  readonly value?: unknown;
}

/** Causes of causes that are kept; a chain may be a circle. */
const DEPTH = 8;

export function packError(error: unknown, depth = DEPTH): WireError {
  if (!(error instanceof Error)) return packValue(error);
  const own = error instanceof EspalierError;
  const properties: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(error)) {
    if (key === 'name' || (own && (key === 'code' || key === 'hint'))) continue;
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') properties[key] = value;
  }
  const { name, message, stack, cause } = error;
  return {
    kind: own ? 'espalier' : isException(error) ? 'exception' : 'error',
    name,
    message,
    stack,
    ...(own ? { code: error.code, hint: error.hint } : {}),
    properties,
    ...(cause === undefined || depth === 0 ? {} : { cause: packError(cause, depth - 1) }),
  };
}

function packValue(value: unknown): WireError {
  const text = { name: 'Error', message: String(value), stack: undefined, properties: {} };
  try {
    return { kind: 'value', ...text, value: structuredClone(value) };
  } catch {
    return { kind: 'error', ...text };
  }
}

const CLASSES = { TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError };

/** What `packError` was given, as the same class where the host has it, else as an `Error` of that name. */
export function unpackError(wire: WireError): unknown {
  if (wire.kind === 'value') return wire.value;
  const options = wire.cause === undefined ? undefined : { cause: unpackError(wire.cause) };
  const error = make(wire, options);
  for (const [key, value] of Object.entries(wire.properties)) define(error, key, value);
  if (wire.stack !== undefined) define(error, 'stack', wire.stack, false);
  return error;
}

function make(wire: WireError, options: { cause: unknown } | undefined): Error {
  const { kind, name, message } = wire;
  if (kind === 'espalier') return new EspalierError(wire.code!, message, wire.hint!, options);
  if (kind === 'exception') return new DOMException(message, name);
  const Class = Object.hasOwn(CLASSES, name) ? CLASSES[name as 'TypeError'] : Error;
  const error = new Class(message, options);
  if (error.name !== name) define(error, 'name', name, false);
  return error;
}

function define(error: Error, key: string, value: unknown, enumerable = true): void {
  Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true });
}

function isException(error: Error): boolean {
  return typeof DOMException === 'function' && error instanceof DOMException;
}
