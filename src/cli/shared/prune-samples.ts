import { openTrainingData } from '../../datasets/training/data.ts';
import { scoringEncoder } from '../../datasets/training/scoring-encoder.ts';
import { open } from '../../engine/model/open.ts';
import type { PruneOptions } from '../../engine/prune/options.ts';
import { defined } from '../../options/defined.ts';
import { type AuditSequence, auditEntropy } from '../../prune/entropy/audit.ts';
import type { PruneReport } from '../../prune/report/report.ts';

/** Examples of each side that a report shows. */
const SHOWN = 2;

/**
 * Audits of the first examples of both sides, by the model with the adapter that was written: they show what the data say.
 * @throws what opening both, and `auditEntropy`, throws
 */
export async function pruneSamples(
  model: string,
  adapter: string,
  options: Omit<PruneOptions, 'loss'> & Required<Pick<PruneOptions, 'forget' | 'retain'>>,
  signal: AbortSignal,
): Promise<NonNullable<PruneReport['samples']>> {
  const { format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength } = options;
  const { maxTokens, long, end, specialTokens, q, device, lanes, memoryLimit } = options;
  const reading = defined({ format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, signal });
  const opened = await open(model, { adapters: [adapter], signal, ...defined({ device, lanes, memoryLimit }) });
  try {
    const samples: NonNullable<PruneReport['samples']>[number][] = [];
    const encoder = scoringEncoder(opened, defined({ maxTokens, long, end, specialTokens }));
    for (const side of ['forget', 'retain'] as const) {
      const data = await openTrainingData(options[side], reading);
      try {
        const list: AuditSequence[] = [];
        for (const index of data.train.subarray(0, SHOWN)) {
          for (const { ids, learned } of await encoder.encode(await data.read(index))) {
            list.push({ ids, learned, name: data.placeOf(index) });
          }
        }
        const audit = await auditEntropy(opened, list, { ...defined({ q }), percentile: 80, signal });
        samples.push({ side, audit });
      } finally {
        await data.close();
      }
    }
    return samples;
  } finally {
    await opened.close();
  }
}
