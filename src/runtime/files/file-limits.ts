import { EspalierError } from '../../errors.ts';

const MIB = 1 << 20;

/** Most bytes of the small files of a model: the same whether they are read from a disk or on their way from a server. */
export const FILE_LIMITS = {
  /** config.json, generation_config.json */
  config: 16 * MIB,
  /** tokenizer.json and what belongs to it; real ones have up to some 35 MB */
  tokenizer: 256 * MIB,
  template: 4 * MIB,
  /** Of the shards of safetensors. */
  index: 100_000_000,
} as const;

/** Most bytes of a file by its name; null for weights, which have no limit but their own header. */
export function limitOf(name: string): number | null {
  if (/\.(?:safetensors|gguf)$/i.test(name)) return null;
  if (name.endsWith('.safetensors.index.json')) return FILE_LIMITS.index;
  if (name.endsWith('.jinja')) return FILE_LIMITS.template;
  return /tokenizer|token|chat_template|vocab|merges/.test(name) ? FILE_LIMITS.tokenizer : FILE_LIMITS.config;
}

/** @param bytes where it is known how many there are */
export function tooLarge(name: string, bytes: number | null, limit: number): EspalierError {
  const size = bytes === null ? `more than ${limit} bytes` : `${bytes} bytes`;
  return new EspalierError(
    'E_CHECKPOINT_HEADER',
    `${name} has ${size}; at most ${limit} are read.`,
    'Check that this is the right file.',
  );
}
