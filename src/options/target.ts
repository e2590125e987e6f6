import { EspalierError } from '../errors.ts';
import type { ModelTarget } from '../runtime/files.ts';
import { readable } from './check.ts';
import { isOptions } from './rules.ts';
import { shown } from './shown.ts';

/** What a model may be, as far as its type says. @throws E_ARGUMENT */
export function checkedTarget(target: unknown): ModelTarget {
  return readable('The model', () => {
    if (typeof target === 'string' && target !== '') return target;
    if (target instanceof URL || target instanceof Uint8Array || isBlob(target)) return target;
    if (isOptions(target)) {
      for (const [name, content] of Object.entries(target)) {
        if (content instanceof Uint8Array || isBlob(content)) continue;
        throw new EspalierError('E_ARGUMENT', `The content of ${name} is ${shown(content)}.`, 'Give bytes or a Blob.');
      }
      return target as Readonly<Record<string, Uint8Array | Blob>>;
    }
    throw new EspalierError(
      'E_ARGUMENT',
      `The model is ${shown(target)}.`,
      'Give a path, an address, owner/name, the bytes or Blob of a GGUF file, or an object of bytes or Blobs by file name.',
    );
  });
}

function isBlob(value: unknown): value is Blob {
  return typeof Blob !== 'undefined' && value instanceof Blob;
}
