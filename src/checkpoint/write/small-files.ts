import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { readWhole } from '../../runtime/files/model-files.ts';
import type { ModelFiles } from '../../runtime/files/source.ts';
import { templateName } from '../../runtime/hub/remote-files.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import type { Checkpoint, TokenizerSpec } from '../types.ts';
import type { OutputType } from './shards.ts';

/** What a Hugging Face folder holds beside configuration and weights; copied as it is. */
export const COPIED: ReadonlySet<string> = new Set([
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'chat_template.json',
  'generation_config.json',
]);
const MOST = 256 << 20;
const TOKENIZER_CONFIG = 'tokenizer_config.json';
const TEMPLATE = 'chat_template.jinja';

/**
 * Writes tokenizer, chat template and generation settings: the source's own files, or from GGUF's vocabulary what stands for them.
 * @throws E_TOKENIZER_INVALID, E_FILE_READ, E_FILE_WRITE, E_STORAGE_FULL
 */
export async function writeSmallFiles(checkpoint: Checkpoint, files: ModelFiles, out: OutputFolder): Promise<void> {
  if (checkpoint.format === 'safetensors') {
    const isNamed = files.names.some((name) => templateName(name) !== null);
    for (const name of files.names) {
      if (!COPIED.has(name) || (isNamed && (name === TOKENIZER_CONFIG || name === TEMPLATE))) continue;
      const source = await files.open(name);
      try {
        await out.writeBytes(name, await readWhole(source, MOST));
      } finally {
        await source.close();
      }
    }
    if (isNamed) await writeTokenizerConfig(await checkpoint.tokenizer(), out);
    return;
  }
  const spec = await checkpoint.tokenizer();
  await writeJson(out, 'tokenizer.json', spec.tokenizerJson);
  await writeTokenizerConfig(spec, out);
}

/**
 * The source's own config.json, to the letter, but for the type that all tensors have now; undefined: as they are stored.
 * @throws E_FILE_READ
 */
export async function configText(files: ModelFiles, type: OutputType | undefined): Promise<string> {
  const source = await files.open('config.json');
  try {
    const text = new TextDecoder().decode(await readWhole(source, FILE_LIMITS.config));
    if (type === undefined) return text;
    const name = { bf16: 'bfloat16', f16: 'float16', f32: 'float32' }[type];
    return text.replace(/("(?:torch_)?dtype"\s*:\s*)(?:"[^"]*"|null)/g, `$1"${name}"`);
  } finally {
    await source.close();
  }
}

/** Several templates in transformers' older form, all in the configuration: the newer one has a folder of them. */
async function writeTokenizerConfig(spec: TokenizerSpec, out: OutputFolder): Promise<void> {
  const { tokenizerConfig, chatTemplate, namedTemplates } = spec;
  if (namedTemplates === undefined) {
    await writeJson(out, TOKENIZER_CONFIG, tokenizerConfig);
    if (chatTemplate !== null) await writeText(out, TEMPLATE, chatTemplate);
    return;
  }
  const all = new Map([...(chatTemplate === null ? [] : [['default', chatTemplate] as const]), ...namedTemplates]);
  const chat_template = [...all].map(([name, template]) => ({ name, template }));
  await writeJson(out, TOKENIZER_CONFIG, { ...tokenizerConfig, chat_template });
}

export function writeJson(out: OutputFolder, name: string, value: unknown): Promise<void> {
  return writeText(out, name, `${JSON.stringify(value, null, 2)}\n`);
}

export function writeText(out: OutputFolder, name: string, text: string): Promise<void> {
  return out.writeBytes(name, new TextEncoder().encode(text));
}
