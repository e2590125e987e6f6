import { access } from 'node:fs/promises';
import { openCheckpointFiles } from '../../src/checkpoint/open.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { writeJson, writeSmallFiles } from '../../src/checkpoint/write/small-files.ts';
import { convertedBytes } from '../../src/checkpoint/write/source-tensors.ts';
import { writeCheckpoint } from '../../src/checkpoint/write/write-checkpoint.ts';
import { shapeKeys } from '../../src/grow/write/output-config.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import { folderOutput } from '../../src/runtime/output/folder.ts';

/**
 * A folder that can be trained as a whole: the model itself, or of a GGUF file, whose types cannot hold what is trained, its weights in f32 or bf16,
 * written to `out` unless they are there. Rounded as they are: what quantising has lost stays lost.
 * @throws an Error for a GGUF file of another architecture than Llama's
 */
export async function trainableFolder(model: string, out: string, dtype: 'f32' | 'bf16' = 'f32'): Promise<string> {
  const files = await openModelFiles(model);
  const checkpoint = await openCheckpointFiles(files);
  try {
    if (checkpoint.format === 'safetensors') return model;
    if (await exists(out)) return out;
    const { config, tensors } = checkpoint;
    const configuration = { ...llamaConfig(config), torch_dtype: dtype === 'f32' ? 'float32' : 'bfloat16' };
    const output = await folderOutput(out);
    const groups = [...tensors.values()].map((entry) => ({
      name: entry.name,
      tensors: [
        {
          name: entry.name,
          type: dtype,
          shape: entry.shape,
          bytes: () => convertedBytes(entry, dtype, 1, { headDim: config.headDim }),
        },
      ],
    }));
    try {
      await writeCheckpoint(output, groups, { identity: `unpacked ${model}`, restart: true });
      await writeJson(output, 'config.json', configuration);
      await writeSmallFiles(checkpoint, files, output);
      await output.commit();
    } catch (error) {
      await output.release();
      throw error;
    }
    return out;
  } finally {
    await checkpoint.close();
  }
}

/** config.json. Only of a plain Llama: others need more than these keys. */
function llamaConfig(config: ModelConfig): Record<string, unknown> {
  const { architecture, rope, tiedEmbeddings, moe } = config;
  if (architecture !== 'llama' || moe !== null || rope.scaling.type !== 'none' || rope.frequencyDivisors !== null)
    throw new Error('Of GGUF files only plain Llamas are unpacked: give the safetensors of this model.');
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    ...shapeKeys(config),
    tie_word_embeddings: tiedEmbeddings,
    bos_token_id: config.bosId,
    eos_token_id: config.eosIds,
    pad_token_id: config.padId,
    attention_bias: false,
    mlp_bias: false,
  };
}

/** A folder that was written has its name only when all of it is there. */
export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
