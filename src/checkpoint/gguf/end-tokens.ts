/**
 * Tokens that end a text by what they are called. Files are converted with one end token named, and chat models end their turns
 * with another; llama.cpp goes by the texts below for that reason, and so does this (its list of 2026).
 */
const ENDS: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<|calls|>',
  '<|flush|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '</s>',
  '<|eom_id|>',
  '<EOT>',
  '_<EOT>',
  '< EOT >',
  '_< EOT >',
  '[EOT]',
  '[EOS]',
  '<|end_of_text|>',
  '<end_of_utterance>',
  '<eos>',
  '<turn|>',
  '<|tool_response>',
  '<|END_OF_TURN_TOKEN|>',
  '<\uff5cend\u2581of\u2581sentence\uff5c>',
]);

/** What stands between files and in the gaps of code: after it comes another text. By the key that may name it. */
const BORDERS: readonly (readonly [string, readonly string[]])[] = [
  ['fim_pad_token_id', ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]']],
  ['fim_rep_token_id', ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>']],
  ['fim_sep_token_id', ['<|file_sep|>']],
];

const NORMAL = 1;

/**
 * Ids of the tokens of a GGUF vocabulary that end a text because of their texts. A token of the type NORMAL is one of words, but
 * llama.cpp takes such texts for mistakes of the converter; `</s>` also ends a stroke in HTML and counts only as a control token.
 *
 * @param metadata by key; what is malformed in it is left to its readers
 */
export function endTokens(metadata: ReadonlyMap<string, unknown>): number[] {
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (!Array.isArray(tokens)) return [];
  const types = metadata.get('tokenizer.ggml.token_type') as ArrayLike<unknown> | null | undefined;
  const isNormal = (id: number) => Number(types?.[id] ?? 0) === NORMAL;
  const found = new Map<string, number>();
  const borders = new Set(BORDERS.flatMap(([, texts]) => texts));
  tokens.forEach((text, id) => {
    if (typeof text !== 'string') return;
    const ends = ENDS.has(text) && !(text === '</s>' && isNormal(id));
    if (ends || (borders.has(text) && !isNormal(id))) found.set(text, id);
  });
  // these models write <|end|> inside of an answer
  const calls = found.has('<|call|>') || found.has('<|calls|>');
  if (calls && (found.has('<|return|>') || found.has('<|flush|>'))) found.delete('<|end|>');
  if (found.has('<|tool_response>')) found.delete('</s>');
  const ids = [...found].filter(([text]) => ENDS.has(text)).map(([, id]) => id);
  for (const [key, texts] of BORDERS) {
    const named = Number(metadata.get(`tokenizer.ggml.${key}`) ?? Number.NaN);
    const id = Number.isInteger(named) && named >= 0 && named < tokens.length ? named : first(texts, found);
    if (id !== undefined) ids.push(id);
  }
  return [...new Set(ids)].sort((a, b) => a - b);
}

function first(texts: readonly string[], found: ReadonlyMap<string, number>): number | undefined {
  const text = texts.find((candidate) => found.has(candidate));
  return text === undefined ? undefined : found.get(text);
}
