import type { Cache, CacheFile } from '../cache/types.ts';
import { notFound } from '../files/bytes.ts';
import { sha256 } from '../files/hash.ts';
import type { ByteSource, ModelFiles } from '../files/source.ts';

export const INDEX_FILE = 'model.safetensors.index.json';
export const SINGLE_FILE = 'model.safetensors';
/** The small files that say what the weights are; those of the first line must be there. */
export const REQUIRED_FILES: readonly string[] = ['config.json', 'tokenizer.json'];
export const OPTIONAL_FILES: readonly string[] = [
  'tokenizer_config.json',
  'generation_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'chat_template.json',
];

/** What is opened: a model, or the two files of an adapter. */
export type FilesKind = 'model' | 'adapter';
/** Of an adapter, as peft writes it. */
export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** Of an adapter whose experts act by position. */
export const ALTER_CONFIG = 'alter.json';
export const ALTER_WEIGHTS = 'alter.safetensors';

/** Whether weights are those of an adapter, by their name. */
export function isAdapterFile(name: string): boolean {
  return name.startsWith('adapter_') || name === ALTER_WEIGHTS;
}

/** Where transformers keeps the chat templates of a model beside the default one, as NAME.jinja. */
export const TEMPLATE_FOLDER = 'additional_chat_templates';

const IN_TEMPLATE_FOLDER = new RegExp(`^${TEMPLATE_FOLDER}/([^/\\\\]+)\\.jinja$`);

/** The name of a chat template that stands in a file of that folder; null for other files. */
export function templateName(file: string): string | null {
  return IN_TEMPLATE_FOLDER.exec(file)?.[1] ?? null;
}

/** One file of a remote model: brings it into the cache where it is not there. */
export type Fetch = () => Promise<ByteSource>;

/**
 * A remote model. Its weights are downloaded when they are opened, so that a configuration that cannot be computed is found before
 * gigabytes are on their way.
 *
 * @param whenComplete called once, when every file has been opened or was there before
 */
export function remoteFiles(
  name: string,
  files: ReadonlyMap<string, Fetch>,
  options: { preferred?: string | undefined; there?: Iterable<string>; whenComplete?: () => Promise<void> },
): ModelFiles {
  const missing = new Set(files.keys());
  for (const file of options.there ?? []) missing.delete(file);
  return {
    name,
    names: [...files.keys()],
    preferred: options.preferred,
    open: async (file) => {
      const fetch = files.get(file);
      if (!fetch) throw notFound(file, name);
      const source = await fetch();
      if (missing.delete(file) && missing.size === 0) {
        try {
          await options.whenComplete?.();
        } catch (error) {
          await source.close();
          throw error;
        }
      }
      return source;
    },
  };
}

/** The files that an index names, as far as they are plain names; what is wrong with it, who reads the checkpoint says. */
export function shardsOf(index: Uint8Array): string[] {
  try {
    const { weight_map: map } = JSON.parse(new TextDecoder().decode(index)) as { weight_map?: object };
    const names = Object.values(map ?? {}).filter((name) => typeof name === 'string');
    return [...new Set(names)].filter((name) => /^[\w.-]+\.safetensors$/.test(name) && !name.startsWith('.'));
  } catch {
    return [];
  }
}

export async function isCached(cache: Cache, files: Iterable<CacheFile>): Promise<boolean> {
  for (const { blob, size } of files) {
    const source = await cache.open(blob, size);
    if (source === null) return false;
    await source.close();
  }
  return true;
}

/** The key of a reference: readable, and apart for everything that differs. */
export async function refKey(kind: 'hub' | 'web', name: string, identity: string): Promise<string> {
  const readable = name.replace(/[^\w.-]+/g, '-').slice(0, 80);
  return `${kind}.${readable}.${(await sha256(`${kind}\n${identity}`)).slice(0, 24)}.json`;
}
