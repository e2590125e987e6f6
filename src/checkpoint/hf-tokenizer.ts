import { EspalierError } from '../errors.ts';
import { FILE_LIMITS } from '../runtime/file-limits.ts';
import { notFound, readWhole } from '../runtime/files.ts';
import type { ModelFiles } from '../runtime/source.ts';
import { jsonObject, parseJson } from './json.ts';
import type { TokenizerSpec } from './types.ts';

/**
 * A folder's tokenizer.json, tokenizer_config.json where there is one, and chat template: `chat_template.jinja`, else
 * `chat_template.json`, else `chat_template` in the configuration (a text, or a list of which `default` is taken).
 *
 * @throws E_FILE_NOT_FOUND without a tokenizer.json; E_TOKENIZER_INVALID when a file does not parse
 */
export async function folderTokenizer(files: ModelFiles): Promise<TokenizerSpec> {
  const bytes = async (name: string, maxBytes: number): Promise<Uint8Array | null> => {
    if (!files.names.includes(name)) return null;
    const source = await files.open(name);
    try {
      return await readWhole(source, maxBytes);
    } finally {
      await source.close();
    }
  };
  const json = async (name: string) => {
    const content = await bytes(name, FILE_LIMITS.tokenizer);
    const limits = { name, code: 'E_TOKENIZER_INVALID', maxDepth: 64, uniqueKeys: false } as const;
    return content && jsonObject(parseJson(content, limits), limits);
  };
  const tokenizerJson = await json('tokenizer.json');
  if (!tokenizerJson) throw notFound('tokenizer.json', files.name);
  const tokenizerConfig = (await json('tokenizer_config.json')) ?? {};

  const jinja = await bytes('chat_template.jinja', FILE_LIMITS.template);
  const chatTemplate = jinja
    ? decode(jinja)
    : (templateOf((await json('chat_template.json'))?.['chat_template']) ??
      templateOf(tokenizerConfig['chat_template']));
  return { tokenizerJson, tokenizerConfig, chatTemplate };
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new EspalierError('E_TOKENIZER_INVALID', 'chat_template.jinja is not UTF-8.', 'Download the file again.', {
      cause,
    });
  }
}

function templateOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return null;
  const named = value.find((item) => item?.name === 'default');
  return typeof named?.template === 'string' ? named.template : null;
}
