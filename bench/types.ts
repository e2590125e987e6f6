/**
 * What each stored type costs end to end: a model's matrices are quantised to the type, and its predictions are held against those of
 * the same blocks as f32, on a text of 512 tokens at most. Figures of quality, not of speed; nothing else need be installed.
 */
import { fileURLToPath } from 'node:url';
import { withContext } from '../src/checkpoint/config/context-length.ts';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { dequantise } from '../src/checkpoint/quantised/dequantise.ts';
import type { Checkpoint, TensorEntry } from '../src/checkpoint/types.ts';
import type { Precision } from '../src/device/device.ts';
import { WasmDevice } from '../src/device/wasm/wasm-device.ts';
import { SAMPLE_TEXT } from '../src/grow/verify/compare.ts';
import { Decoder } from '../src/model/decoder.ts';
import { divergence, indexOfLargest, logSoftmax } from '../src/model/divergence.ts';
import { Tokenizer } from '../src/model/text/tokenizer.ts';
import { loadWeights } from '../src/model/weights.ts';
import { bytesSource } from '../src/runtime/files/model-files.ts';
import { header, machine, table } from './harness.ts';
import { version } from './ours.ts';
import type { Suite } from './suite.ts';
import { type BlockType, quantise, TYPES } from './types/quantise.ts';

const NANO = fileURLToPath(new URL('../models/nano-base', import.meta.url));

interface Row {
  readonly type: BlockType;
  readonly precision: Precision;
  /** Mean over positions, nats, of the f32 model's predictions against these. */
  readonly kl: number;
  /** Share of positions with the same likeliest token. */
  readonly top: number;
}

/** The checkpoint with other contents of its matrices. */
async function changed(
  checkpoint: Checkpoint,
  change: (values: Float32Array, columns: number) => { type: TensorEntry['type']; bytes: Uint8Array },
): Promise<Checkpoint> {
  const tensors = new Map(checkpoint.tensors);
  for (const [name, entry] of tensors) {
    if (entry.shape.length !== 2) continue;
    const stored = new Uint8Array(entry.byteLength);
    await entry.source.readInto(entry.offset, stored);
    const values = dequantise(entry.type, stored, entry.shape[0]! * entry.shape[1]!);
    const { type, bytes } = change(values, entry.shape[1]!);
    tensors.set(name, { ...entry, type, source: bytesSource(name, bytes), offset: 0, byteLength: bytes.length });
  }
  return { ...checkpoint, tensors };
}

/** Log-probabilities after every token. */
async function predictions(
  checkpoint: Checkpoint,
  ids: readonly number[],
  precision: Precision,
): Promise<Float64Array[]> {
  const device = await WasmDevice.create();
  const decoder = new Decoder(device, checkpoint.config, await loadWeights(device, checkpoint), precision);
  const cache = decoder.cache();
  const rows: Float64Array[] = [];
  await decoder.forward(ids, cache, {
    onChunk: async (hidden) => {
      for (let i = 0; i < hidden.shape[0]!; i++) {
        const mark = device.mark();
        rows.push(logSoftmax((await device.read(decoder.logits(device.rows(hidden, i, 1)))) as Float32Array));
        device.reset(mark);
      }
    },
  });
  device.close();
  return rows;
}

/** llama.cpp takes these where a row is no whole number of blocks of 256. */
const INSTEAD: Partial<Record<BlockType, BlockType>> = { q4_k: 'q5_0', q5_k: 'q5_1', q6_k: 'q8_0' };

const suite: Suite = {
  about: 'what each stored type costs end to end, in nats and likeliest tokens  (--model FOLDER|FILE)',
  async run({ flags, print }) {
    const path = typeof flags['model'] === 'string' ? flags['model'] : NANO;
    const opened = await openCheckpoint(path);
    const checkpoint = { ...opened, config: withContext(opened.config, undefined) };
    const tokenizer = Tokenizer.create(await opened.tokenizer());
    const ids = tokenizer.encode(SAMPLE_TEXT).slice(0, 512);
    const rows: Row[] = [];
    for (const type of TYPES) {
      const taken = (columns: number): BlockType => (columns % 256 === 0 ? type : (INSTEAD[type] ?? type));
      const blocks = await changed(checkpoint, (values, columns) => {
        return { type: taken(columns), bytes: quantise(taken(columns), values) };
      });
      const floats = await changed(blocks, (values) => ({ type: 'f32', bytes: new Uint8Array(values.buffer) }));
      const want = await predictions(floats, ids, 'exact');
      for (const precision of ['exact', 'int8'] as const) {
        const got = await predictions(blocks, ids, precision);
        const kl = want.reduce((sum, row, i) => sum + divergence(row, got[i]!), 0) / want.length;
        const top = want.filter((row, i) => indexOfLargest(row) === indexOfLargest(got[i]!)).length / want.length;
        rows.push({ type, precision, kl, top });
      }
    }
    await opened.close();
    const info = machine([version]);
    print(`${header(info)}\n\n${opened.name}, ${ids.length} tokens\n`);
    print(
      table(
        ['type', 'precision', 'mean KL, nats', 'same likeliest, %'],
        rows.map(({ type, precision, kl, top }) => [type, precision, kl.toExponential(1), (100 * top).toFixed(1)]),
      ),
    );
    return { machine: info, model: opened.name, tokens: ids.length, results: rows };
  },
};
export default suite;
