import type { Checkpoint } from '../checkpoint/types.ts';
import { readWhole } from '../runtime/files.ts';
import type { OutputFolder } from '../runtime/output.ts';
import type { ModelFiles } from '../runtime/source.ts';

/** What a Hugging Face folder holds beside configuration and weights; copied as it is. */
const COPIED: ReadonlySet<string> = new Set([
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

/**
 * Writes tokenizer, chat template and generation settings: the source's own files, or from GGUF's vocabulary what stands for them.
 * @throws E_TOKENIZER_INVALID, E_FILE_READ, E_FILE_WRITE, E_STORAGE_FULL
 */
export async function writeSmallFiles(checkpoint: Checkpoint, files: ModelFiles, out: OutputFolder): Promise<void> {
  if (checkpoint.format === 'safetensors') {
    for (const name of files.names) {
      if (!COPIED.has(name)) continue;
      const source = await files.open(name);
      try {
        await out.writeBytes(name, await readWhole(source, MOST));
      } finally {
        await source.close();
      }
    }
    return;
  }
  const { tokenizerJson, tokenizerConfig, chatTemplate } = await checkpoint.tokenizer();
  await writeJson(out, 'tokenizer.json', tokenizerJson);
  await writeJson(out, 'tokenizer_config.json', tokenizerConfig);
  if (chatTemplate !== null) await writeText(out, 'chat_template.jinja', chatTemplate);
}

export function writeJson(out: OutputFolder, name: string, value: unknown): Promise<void> {
  return writeText(out, name, `${JSON.stringify(value, null, 2)}\n`);
}

export function writeText(out: OutputFolder, name: string, text: string): Promise<void> {
  return out.writeBytes(name, new TextEncoder().encode(text));
}
