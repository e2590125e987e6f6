import { EspalierError } from '../errors.ts';
import type { ModelTarget } from '../runtime/files.ts';
import type { WireTarget } from './protocol.ts';

export type Callback = (...args: never[]) => void;

/** A call's options, parted into what crosses to the worker and what stays. */
export interface PartedOptions<T> {
  readonly data: Omit<T, 'signal' | 'onProgress'>;
  readonly signal: AbortSignal | undefined;
  readonly callbacks: Readonly<Record<string, Callback>>;
}

/** @throws E_ARGUMENT for a function that is no callback: only events cross */
export function partOptions<T extends { readonly signal?: AbortSignal | undefined }>(options: T): PartedOptions<T> {
  const data: Record<string, unknown> = {};
  const callbacks: Record<string, Callback> = {};
  for (const [name, value] of Object.entries(options)) {
    if (name === 'signal' || value === undefined) continue;
    if (typeof value !== 'function') data[name] = value instanceof URL ? value.href : value;
    else if (/^on[A-Z]/.test(name)) callbacks[name] = value as Callback;
    else throw notCloneable(`The option ${name}`);
  }
  return { data: data as PartedOptions<T>['data'], signal: options.signal, callbacks };
}

export function notCloneable(what: string, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_ARGUMENT',
    `${what} cannot be sent to the engine worker.`,
    'Pass plain data, and a path for a file; functions work with openLocal of espalier/local.',
    { cause },
  );
}

/**
 * A target as it crosses, with the buffers that are moved. Addresses are made absolute, since a worker's base is not the page's.
 * Bytes are copied, once, unless they are given away: cloning a view would copy all of the buffer that it looks at.
 *
 * @param give whether the caller gives his bytes away
 */
export function wireTarget(target: ModelTarget, give: boolean): { target: WireTarget; transfer: Transferable[] } {
  const transfer = new Set<ArrayBuffer>();
  const cross = <T extends Uint8Array | Blob>(content: T): T | Uint8Array => {
    if (!(content instanceof Uint8Array)) return content;
    const { buffer, byteLength } = content;
    const whole = give && buffer instanceof ArrayBuffer && byteLength === buffer.byteLength;
    const bytes = whole ? new Uint8Array(buffer) : new Uint8Array(content);
    transfer.add(bytes.buffer);
    return bytes;
  };
  let wire: WireTarget;
  if (typeof target === 'string') wire = absolute(target);
  else if (target instanceof URL) wire = target.href;
  else if (target instanceof Uint8Array || target instanceof Blob) wire = cross(target);
  else if (typeof target === 'object' && target !== null) {
    wire = Object.fromEntries(Object.entries(target).map(([name, content]) => [name, cross(content)]));
  } else wire = target; // the worker refuses it
  return { target: wire, transfer: [...transfer] };
}

/** `./folder` and `/folder` on a page are addresses. */
function absolute(target: string): string {
  const { document } = globalThis as { document?: { baseURI?: string } };
  return document?.baseURI && /^\.{0,2}\//.test(target) ? new URL(target, document.baseURI).href : target;
}
