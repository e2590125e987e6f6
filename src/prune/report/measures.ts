import type { PruneReceipt } from '../write/receipt.ts';
import type { ReportedMeasure } from './report.ts';

/** Figures of a receipt, without the adapter and with it, and what each should come to. */
export function measuresOf({ before, after, distance, target }: PruneReceipt): readonly ReportedMeasure[] {
  return [
    { name: 'answers to be forgotten', before: before.forget, after: after.forget, aim: target.probability },
    { name: 'answers to be kept', before: before.retain, after: after.retain, aim: before.retain },
    { name: 'distance from answers never learned, in nats', ...distance, aim: 0 },
  ];
}
