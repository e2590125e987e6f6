/** What a model may be. */
import { EspalierError } from '../../errors.ts';
import { readable } from '../../options/check.ts';
import { isOptions, type Rule } from '../../options/rules.ts';
import { shown } from '../../options/shown.ts';
import { isDetached } from './bytes.ts';
import type { ModelTarget } from './model-files.ts';

/** What a model may be, as far as its type says. @param what it is, for messages @throws E_ARGUMENT */
export function checkedTarget(target: unknown, what = 'The model'): ModelTarget {
  return readable(what, () => {
    if (typeof target === 'string' && target !== '') return target;
    if (target instanceof URL) return target;
    if (isContent(target)) return attached(target, what);
    if (isOptions(target)) {
      const files = Object.entries(target).map(([name, content]) => {
        if (isContent(content)) return [name, attached(content, name)] as const;
        throw new EspalierError(
          'E_ARGUMENT',
          `The content of ${shown(name)} is ${shown(content)}.`,
          'Give bytes or a Blob.',
        );
      });
      return Object.fromEntries(files);
    }
    throw new EspalierError(
      'E_ARGUMENT',
      `${what} is ${shown(target)}.`,
      'Give a path, an address, owner/name, the bytes or Blob of a GGUF file, or an object of bytes or Blobs by file name.',
    );
  });
}

function isContent(value: unknown): value is Uint8Array | Blob {
  return value instanceof Uint8Array || (typeof Blob !== 'undefined' && value instanceof Blob);
}

/** @throws E_ARGUMENT for bytes that were moved elsewhere, as those of an earlier call with `transfer` are */
function attached<T extends Uint8Array | Blob>(content: T, what: string): T {
  if (!(content instanceof Uint8Array) || !isDetached(content.buffer)) return content;
  throw new EspalierError(
    'E_ARGUMENT',
    `The bytes of ${what} were given away before.`,
    'Leave `transfer` out where they are wanted again.',
  );
}

/** Of an option that is a model, or with `takes` something else of files. @param what it is, for messages */
export function targetRule(what: string, takes = 'a model, as `open` takes it'): Rule<ModelTarget> {
  return { takes, check: (value) => checkedTarget(value, what), parse: (text) => text };
}
