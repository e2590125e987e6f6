import { EspalierError } from '../../errors.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import type { ConfigRemarks } from '../config/config.ts';
import { configInvalid } from '../config/faults.ts';
import { dequantise } from '../quantised/dequantise.ts';
import type { Report } from '../report.ts';
import { checkTensors } from '../required.ts';
import type { Survey } from '../survey.ts';
import type { ModelConfig } from '../types.ts';
import { configFromGguf, ggufArchitecture } from './config.ts';
import { type GgufHeader, type GgufTensor, readGguf } from './gguf.ts';
import { canonicalTensors } from './names.ts';
import { tokenizerFromGguf } from './tokenizer.ts';

/**
 * A GGUF file. Its header must be whole; what it says of the model may be reported.
 * @throws as `readGguf`, and what `report` throws
 */
export async function surveyGguf(source: ByteSource, report: Report): Promise<Survey> {
  const header = await readGguf(source);
  const { metadata, tensors } = header;
  const remarks: ConfigRemarks = { ignoredKeys: [], notes: [] };
  let table = canonicalTensors(tensors, source, null);
  let config: ModelConfig | null = null;
  try {
    table = canonicalTensors(tensors, source, ggufArchitecture(metadata, source.name).family);
    config = await readConfig(header, table, source, remarks);
  } catch (error) {
    report(error);
  }
  const survey = { name: source.name, format: 'gguf' as const, config, ...table, ...remarks };
  const unusedTensors = config ? checkTensors({ ...survey, config }, report) : [];
  return { ...survey, unusedTensors, tokenizer: async () => tokenizerFromGguf(metadata) };
}

async function readConfig(
  { metadata, types, tensors }: GgufHeader,
  table: ReturnType<typeof canonicalTensors>,
  source: ByteSource,
  remarks: ConfigRemarks,
): Promise<ModelConfig> {
  const divisors = await frequencyDivisors(tensors, source);
  return configFromGguf(metadata, types, table, divisors, source.name, remarks);
}

/** `rope_freqs.weight`, which is small and shapes the configuration. */
async function frequencyDivisors(tensors: readonly GgufTensor[], source: ByteSource): Promise<Float32Array | null> {
  const tensor = tensors.find(({ name }) => name === 'rope_freqs.weight');
  if (!tensor) return null;
  const elements = tensor.shape[0] ?? 0;
  if (tensor.shape.length !== 1 || elements > 4096) throw configInvalid(source.name, 'rope_freqs.weight is no vector');
  if (tensor.type !== 'f32' && tensor.type !== 'f16' && tensor.type !== 'bf16') {
    throw new EspalierError(
      'E_TENSOR_TYPE',
      `rope_freqs.weight in ${source.name} is stored as ${tensor.typeName}.`,
      'Convert the model again.',
    );
  }
  const bytes = new Uint8Array(tensor.byteLength);
  await source.readInto(tensor.offset, bytes);
  return dequantise(tensor.type, bytes, elements);
}
