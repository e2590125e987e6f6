import { EspalierError } from '../../errors.ts';
import { type AdapterChoice, weighted } from '../../model/adapter-options.ts';
import { shown } from '../../options/shown.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { checkedTarget } from '../../runtime/files/target.ts';
import type { Data, WireTarget } from './port.ts';

/** Where functions may be given that cannot cross to an engine worker. */
export const LOCAL = 'openLocal of espalier/local';

export type Callback = (...args: never[]) => void;

/** A call's options, parted into what crosses to the worker and what stays. */
export interface PartedOptions<T> {
  readonly data: Data<T>;
  readonly signal: AbortSignal | undefined;
  readonly callbacks: Readonly<Record<string, Callback>>;
}

/**
 * @param local what takes functions, for the message
 * @throws E_ARGUMENT for a function that is no callback: only events cross
 */
export function partOptions<T extends { readonly signal?: AbortSignal | undefined }>(
  options: T,
  local: string = LOCAL,
): PartedOptions<T> {
  const data: Record<string, unknown> = {};
  const callbacks: Record<string, Callback> = {};
  for (const [name, value] of Object.entries(options)) {
    if (name === 'signal' || value === undefined) continue;
    if (typeof value !== 'function') data[name] = value instanceof URL ? value.href : value;
    else if (/^on/i.test(name)) callbacks[name] = value as Callback;
    else throw notCloneable(`The option ${name}`, local);
  }
  return { data: data as Data<T>, signal: options.signal, callbacks };
}

export function notCloneable(what: string, local: string, cause?: unknown): EspalierError {
  const hint = `Pass plain data, and a path for a file; functions, where any are taken, work with ${local}.`;
  return new EspalierError('E_ARGUMENT', `${what} cannot be sent to a worker.`, hint, { cause });
}

/**
 * A target as it crosses, with the buffers that are moved. Addresses are made absolute, since a worker's base is not the page's.
 * Bytes are copied, once, unless they are given away: cloning a view would copy all of the buffer that it looks at.
 *
 * @param give whether the caller gives his bytes away
 * @throws E_ARGUMENT for what is no target
 */
export function wireTarget(given: ModelTarget, give: boolean): { target: WireTarget; transfer: ArrayBuffer[] } {
  const target = checkedTarget(given);
  const transfer = new Set<ArrayBuffer>();
  const cross = <T extends Uint8Array | Blob>(content: T): T | Uint8Array => {
    if (!(content instanceof Uint8Array)) return content;
    const bytes = wireContent(content, give);
    transfer.add(bytes.buffer);
    return bytes;
  };
  let wire: WireTarget;
  if (typeof target === 'string') wire = absolute(target);
  else if (target instanceof URL) wire = target.href;
  else if (target instanceof Uint8Array || target instanceof Blob) wire = cross(target);
  else wire = Object.fromEntries(Object.entries(target).map(([name, content]) => [name, cross(content)]));
  return { target: wire, transfer: [...transfer] };
}

/** Adapters as they cross, each said in full, with the buffers that are moved. @throws E_ARGUMENT for what is no target */
export function wireAdapters(
  choices: readonly AdapterChoice[],
  give: boolean,
): { adapters: { from: WireTarget; weight: number }[]; transfer: ArrayBuffer[] } {
  const moved: ArrayBuffer[] = [];
  const adapters = choices.map((choice) => {
    const { from, weight } = weighted(choice);
    const { target, transfer } = wireTarget(from, give);
    moved.push(...transfer);
    return { from: target, weight };
  });
  return { adapters, transfer: moved };
}

/**
 * Bytes whose buffer is moved with them.
 * @param give whether they are the caller's own then no longer
 * @throws E_OUT_OF_MEMORY
 */
export function wireContent(content: Uint8Array, give: boolean): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = content;
  const whole = give && buffer instanceof ArrayBuffer && byteLength === buffer.byteLength;
  return whole ? new Uint8Array(buffer) : copyOf(content);
}

/** @throws E_OUT_OF_MEMORY */
function copyOf(content: Uint8Array): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(content);
  } catch (cause) {
    throw new EspalierError(
      'E_OUT_OF_MEMORY',
      `There is no room for a copy of ${content.byteLength} bytes.`,
      'Give them away with `transfer: true`, or give a Blob.',
      { cause },
    );
  }
}

/** An address of a script or a folder as the caller gave it, against the page's base. @throws E_ARGUMENT */
export function placeOf(given: string | URL | undefined, folder = false): URL | undefined {
  if (given === undefined) return undefined;
  const { document } = globalThis as { document?: { baseURI?: string } };
  try {
    const url = new URL(given, document?.baseURI);
    if (folder && !url.pathname.endsWith('/')) url.pathname += '/';
    return url;
  } catch (cause) {
    throw new EspalierError('E_ARGUMENT', `${shown(String(given))} is no address.`, 'Give an absolute URL.', { cause });
  }
}

/** `./folder` and `/folder` on a page are addresses. */
function absolute(target: string): string {
  const { document } = globalThis as { document?: { baseURI?: string } };
  return document?.baseURI && /^\.{0,2}\//.test(target) ? new URL(target, document.baseURI).href : target;
}
