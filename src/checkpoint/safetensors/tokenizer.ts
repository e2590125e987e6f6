import { EspalierError } from '../../errors.ts';
import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { notFound, readWhole } from '../../runtime/files/model-files.ts';
import type { ModelFiles } from '../../runtime/files/source.ts';
import { templateName } from '../../runtime/hub/remote-files.ts';
import { jsonObject, parseJson } from '../json.ts';
import { byName, templatesOf } from '../templates.ts';
import type { TokenizerSpec } from '../types.ts';

/**
 * A folder's tokenizer.json, tokenizer_config.json where there is one, and chat templates. As transformers takes them: those in files
 * (`chat_template.jinja`, and by name those in `additional_chat_templates/`), else `chat_template` in the configuration, else in
 * `chat_template.json`: a text, or several by name.
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
  if (!tokenizerJson) throw noTokenizer(files);
  const tokenizerConfig = (await json('tokenizer_config.json')) ?? {};

  const text = async (name: string) => {
    const content = await bytes(name, FILE_LIMITS.template);
    return content && decode(content, name);
  };
  const templates = new Map<string, string>();
  for (const file of ['chat_template.jinja', ...files.names]) {
    const name = file === 'chat_template.jinja' ? 'default' : templateName(file);
    if (name === null || templates.has(name)) continue;
    if (templates.size >= MOST_TEMPLATES) throw tooManyTemplates(files.name);
    const template = await text(file);
    if (template !== null) templates.set(name, template);
  }
  const given =
    (templates.size > 0 ? templates : null) ??
    templatesOf(tokenizerConfig['chat_template']) ??
    templatesOf((await json('chat_template.json'))?.['chat_template']);
  return { tokenizerJson, tokenizerConfig, ...byName(given ?? new Map()) };
}

const MOST_TEMPLATES = 64;

function tooManyTemplates(folder: string): EspalierError {
  return new EspalierError(
    'E_TOKENIZER_INVALID',
    `${folder} has more than ${MOST_TEMPLATES} chat templates.`,
    'Remove those in additional_chat_templates that are not needed.',
  );
}

/** Older forms of a tokenizer, by a file that tells them. */
const OLDER: readonly (readonly [string, string])[] = [
  ['tokenizer.model', 'SentencePiece’s own form'],
  ['spiece.model', 'SentencePiece’s own form'],
  ['merges.txt', 'the form of GPT-2, with vocab.json'],
  ['vocab.txt', 'the form of BERT'],
  ['tekken.json', 'Mistral’s own form'],
];

function noTokenizer(files: ModelFiles): EspalierError {
  const older = OLDER.find(([name]) => files.names.includes(name));
  if (older === undefined) return notFound('tokenizer.json', files.name);
  return new EspalierError(
    'E_FILE_NOT_FOUND',
    `${files.name} has its tokenizer in ${older[0]}, ${older[1]}; tokenizer.json is read.`,
    'Convert it once with Python: AutoTokenizer.from_pretrained(folder).save_pretrained(folder), of the package transformers.',
  );
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new EspalierError('E_TOKENIZER_INVALID', `${name} is not UTF-8.`, 'Download the file again.', { cause });
  }
}
