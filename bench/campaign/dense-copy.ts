/** A model of a GGUF file as a folder of safetensors, all of whose weights can be trained: quantised ones are what they stand for. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { convertedBytes } from '../../src/checkpoint/write/source-tensors.ts';

/** @param folder has its name when all of it is there. @throws for other families than llama's */
export async function denseCopy(gguf: string, folder: string): Promise<void> {
  const checkpoint = await openCheckpoint(gguf);
  const unfinished = `${folder}.unfinished`;
  try {
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished, { recursive: true });
    const { tokenizerJson, tokenizerConfig } = await checkpoint.tokenizer();
    await writeFile(join(unfinished, 'config.json'), JSON.stringify(configOf(checkpoint)));
    await writeFile(join(unfinished, 'tokenizer.json'), JSON.stringify(tokenizerJson));
    await writeFile(join(unfinished, 'tokenizer_config.json'), JSON.stringify(tokenizerConfig));
    await writeFile(join(unfinished, 'model.safetensors'), await tensorsOf(checkpoint));
    await rename(unfinished, folder);
  } finally {
    await checkpoint.close();
  }
}

/** All tensors in bf16, one behind the other, as the format has them: the length of a header, the header, the bytes. */
async function tensorsOf({ tensors, config: { headDim } }: Checkpoint): Promise<Uint8Array> {
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, entry] of tensors) {
    const begin = at;
    for await (const piece of convertedBytes(entry, 'bf16', 1, { headDim })) {
      parts.push(piece.slice());
      at += piece.length;
    }
    header[name] = { dtype: 'BF16', shape: entry.shape, data_offsets: [begin, at] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...parts]);
}

function configOf({ config }: Checkpoint): object {
  const { rope } = config;
  if (config.architecture !== 'llama') throw new Error(`${config.architecture} is not copied: llama alone.`);
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.nLayers,
    num_attention_heads: config.nHeads,
    num_key_value_heads: config.nKvHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: rope.theta,
    tie_word_embeddings: config.tiedEmbeddings,
    hidden_act: 'silu',
    bos_token_id: config.bosId,
    eos_token_id: config.eosIds,
    pad_token_id: config.padId,
    torch_dtype: 'bfloat16',
  };
}
