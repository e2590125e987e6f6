import { openCheckpointFiles } from '../../checkpoint/open.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import type { Device } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import { Decoder } from '../../model/decoder.ts';
import { Tokenizer } from '../../model/text/tokenizer.ts';
import { streamWeights } from '../../model/weights.ts';
import type { ModelFiles } from '../../runtime/files/source.ts';
import { compare, type Deviation, type Predictor, SAMPLE_TEXT } from './compare.ts';

/** Tokens that are compared at most. */
const MOST = 256;
/** Rows of logits that are on the device at once. */
const ROWS = 16;

export interface MeasureOptions {
  /** Null: a text of our own. */
  readonly text: string | null;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (fraction: number) => void;
}

/**
 * Opens a grown model's files and compares its predictions with the dense model's, both layer by layer, so that neither has to fit the
 * memory as a whole.
 * @throws E_ARGUMENT for an empty text; what opening throws when the files are not what they should be
 */
export async function measureDeviation(
  device: Device,
  dense: Checkpoint,
  files: ModelFiles,
  { text, signal, onProgress }: MeasureOptions,
): Promise<Deviation> {
  const grown = await openCheckpointFiles(files, { signal });
  try {
    const { vocabSize, maxPositions } = dense.config;
    const most = Math.min(MOST, maxPositions);
    const encoded = await encode(grown, text);
    const ids = (encoded ?? Array.from({ length: most }, (_, i) => (7 + 37 * i + i * i) % vocabSize))
      .filter((id) => id < vocabSize)
      .slice(0, most);
    if (ids.length === 0) throw new EspalierError('E_ARGUMENT', 'The text to compare on is empty.', 'Give a text.');
    const predictor = (checkpoint: Checkpoint): Predictor => ({
      logits: (list, take) => streamedLogits(device, checkpoint, list, take, signal),
    });
    const measured = await compare(predictor(dense), predictor(grown), ids, onProgress);
    return { ...measured, text: encoded === null ? 'token numbers' : text === null ? 'sample' : 'given' };
  } finally {
    await grown.close();
  }
}

/** Null where there is no tokenizer and no text was given: then any tokens must do. */
async function encode(checkpoint: Checkpoint, text: string | null): Promise<number[] | null> {
  try {
    const tokenizer = Tokenizer.create(await checkpoint.tokenizer());
    return tokenizer.encode(text ?? SAMPLE_TEXT, { addSpecialTokens: true });
  } catch (error) {
    if (text === null && error instanceof EspalierError && error.code === 'E_FILE_NOT_FOUND') return null;
    throw error;
  }
}

/** Logits of at most 512 tokens. The model is on the device while it computes, layer by layer, and then no more. */
async function streamedLogits(
  device: Device,
  checkpoint: Checkpoint,
  ids: readonly number[],
  take: (rows: Float32Array, width: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const weights = await streamWeights(device, checkpoint, { signal });
  const decoder = new Decoder(device, checkpoint.config, weights, 'exact');
  try {
    const cache = decoder.cache();
    const { hiddenSize, vocabSize } = checkpoint.config;
    const hidden = device.tensor('f32', [ids.length, hiddenSize]);
    try {
      await decoder.forward(ids, cache, {
        signal,
        onChunk: (rows, firstRow) => device.copyRows(rows, hidden, firstRow),
      });
      for (let first = 0; first < ids.length; first += ROWS) {
        const mark = device.mark();
        const logits = decoder.logits(device.rows(hidden, first, Math.min(ROWS, ids.length - first)));
        const rows = (await device.read(logits)) as Float32Array;
        device.reset(mark);
        take(rows, vocabSize);
      }
    } finally {
      hidden.dispose();
      cache.dispose();
    }
  } finally {
    decoder.dispose();
  }
}
