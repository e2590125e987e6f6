import { EspalierError } from '../../errors.ts';

export type Json = Record<string, unknown>;

export function invalidVocabulary(
  message: string,
  hint = 'Use the tokenizer.json that was published with the model.',
): EspalierError {
  return new EspalierError('E_TOKENIZER_INVALID', message, hint);
}

/** How a byte-level BPE model cuts a text into words before it merges. */
export interface PreTokenization {
  readonly normalizer: Json | null;
  readonly preTokenizer: Json;
  /** Whether a word that is a token as a whole is taken without merging. */
  readonly ignoreMerges: boolean;
  /** Whether a begin token is added when the file does not say. */
  readonly addBos: boolean;
}

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LINES = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const LLAMA3 = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${LINES}`;
const QWEN2 = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${LINES}`;
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const TEKKEN =
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*|\\p{N}|` +
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const gpt2 = cut([GPT2]);
const digitByDigit = cut(['\\p{N}', GPT2]);
const llama3 = { ...cut([LLAMA3]), ignoreMerges: true, addBos: true };
// Hugging Face composes accents for Qwen; llama.cpp does not. The ids follow Hugging Face.
const qwen2 = { ...cut([QWEN2]), normalizer: { type: 'NFC' } };

/** By the name in `tokenizer.ggml.pre`. */
const known: ReadonlyMap<string, PreTokenization> = new Map([
  ['gpt-2', gpt2],
  ['gpt2', gpt2],
  ['phi-2', gpt2],
  ['olmo', gpt2],
  ['smollm', digitByDigit],
  ['starcoder', digitByDigit],
  ['refact', digitByDigit],
  ['command-r', digitByDigit],
  ['codeshell', digitByDigit],
  ['exaone', digitByDigit],
  ['llama-bpe', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
  // SmolLM3's too: as llama3, but that llama.cpp adds no begin token unless the file says so
  ['smaug-bpe', { ...llama3, addBos: false }],
  ['falcon3', llama3],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', qwen2],
  ['tekken', { ...cut([TEKKEN]), ignoreMerges: true, addBos: true }],
  // llama.cpp's own for files that do not know better: four cuts, one after the other
  ['default', cut(['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'])],
]);

/** @throws E_TOKENIZER_INVALID for a name that we do not know: a wrong cut would give wrong ids silently */
export function preTokenization(name: string): PreTokenization {
  const found = known.get(name);
  if (found !== undefined) return found;
  throw invalidVocabulary(
    `The GGUF file cuts its texts in the way called ${JSON.stringify(name)} (tokenizer.ggml.pre), which is not known here.`,
    `Use the model's tokenizer.json, or a file with one of: ${[...known.keys()].join(', ')}.`,
  );
}

function cut(expressions: readonly string[]): PreTokenization {
  const splits = expressions.map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const preTokenizer = { type: 'Sequence', pretokenizers: [...splits, bytes] };
  return { normalizer: null, preTokenizer, ignoreMerges: false, addBos: false };
}
