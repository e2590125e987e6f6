import { type ErrorCode, EspalierError } from '../errors.ts';
import { strangerOf } from '../runtime/files/strangers.ts';

export interface JsonLimits {
  /** For messages: the file's name. */
  readonly name: string;
  /** What a malformed text is reported as. */
  readonly code: ErrorCode;
  /** Deepest nesting of objects and arrays. */
  readonly maxDepth: number;
  /** Whether a name that stands twice in one object is an error; `JSON.parse` would take the last one silently. */
  readonly uniqueKeys: boolean;
  /** Whether NaN, Infinity and -Infinity are numbers, which Python's json writes and JSON has not. Default false. */
  readonly python?: boolean;
}

/** Parses UTF-8 JSON from an untrusted file. The scan before it is linear in the text and holds only the keys. */
export function parseJson(bytes: Uint8Array, limits: JsonLimits): unknown {
  const malformed = (what: string, cause?: unknown) => {
    const other = strangerOf(bytes);
    if (other) return new EspalierError(limits.code, `${limits.name} is ${other.what}.`, other.hint, { cause });
    return new EspalierError(limits.code, `${limits.name}: ${what}.`, 'Download or export the file again.', { cause });
  };
  if (bytes.length === 0) throw malformed('the file is empty');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw malformed('the JSON is not UTF-8', cause);
  }
  const fault = scan(text, limits);
  if (fault !== null) throw malformed(fault);
  try {
    return limits.python && /NaN|Infinity/.test(text) ? JSON.parse(tagged(text), untag) : JSON.parse(text);
  } catch (cause) {
    const why = /\b(?:NaN|Infinity)\b/.test(text) ? ' (it holds NaN or Infinity, which JSON has not)' : '';
    throw malformed(`the JSON does not parse${why}`, cause);
  }
}

const TAG = '__float__';
const TAGGED: ReadonlyMap<unknown, number> = new Map([
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);

/** Python's words outside of texts, as transformers 5 writes them for other programs: `{"__float__": "NaN"}`. */
function tagged(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (found) =>
    found[0] === '"' ? found : `{"${TAG}":"${found}"}`,
  );
}

function untag(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, TAG)) return value;
  const number = TAGGED.get((value as Record<string, unknown>)[TAG]);
  return number !== undefined && Object.keys(value).length === 1 ? number : value;
}

/** `value` as a plain object by name, or an error. */
export function jsonObject(value: unknown, limits: JsonLimits): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new EspalierError(limits.code, `${limits.name} is not a JSON object.`, 'Download or export the file again.');
  }
  return value as Record<string, unknown>;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;

/** What is wrong with nesting or names, or null. Other faults are left to `JSON.parse`. */
function scan(text: string, limits: JsonLimits): string | null {
  const open: (Set<string> | null)[] = []; // an object's names so far, or null for an array
  let nameNext = false; // whether a string here is a name
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case OPEN_OBJECT:
      case OPEN_ARRAY: {
        const isObject = text.charCodeAt(i) === OPEN_OBJECT;
        open.push(isObject ? new Set() : null);
        if (open.length > limits.maxDepth) return `the JSON is nested deeper than ${limits.maxDepth}`;
        nameNext = isObject;
        break;
      }
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        open.pop();
        nameNext = false;
        break;
      case COMMA:
        nameNext = open.length > 0 && open[open.length - 1] !== null;
        break;
      case QUOTE: {
        const start = i++;
        let escaped = false;
        while (i < text.length && text.charCodeAt(i) !== QUOTE) {
          if (text.charCodeAt(i) === BACKSLASH) {
            escaped = true;
            i++;
          }
          i++;
        }
        if (nameNext && limits.uniqueKeys) {
          const names = open[open.length - 1]!;
          const name = escaped ? unescaped(text.slice(start, i + 1)) : text.slice(start + 1, i);
          if (names.has(name)) return `the name ${JSON.stringify(name.slice(0, 100))} stands twice`;
          names.add(name);
        }
        nameNext = false;
        break;
      }
    }
  }
  return null;
}

function unescaped(literal: string): string {
  try {
    return JSON.parse(literal);
  } catch {
    return literal; // malformed: JSON.parse of the whole will say so
  }
}
