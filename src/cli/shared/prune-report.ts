import { readJsonFile } from '../../datasets/json-rows.ts';
import { EspalierError } from '../../errors.ts';
import { isOptions } from '../../options/rules.ts';
import { checkReceipt } from '../../prune/report/check.ts';
import { measuresOf } from '../../prune/report/measures.ts';
import { prunePage } from '../../prune/report/page.ts';
import type { PruneReport, ReportedMeasure } from '../../prune/report/report.ts';
import { PRUNE_FILE, type PruneReceipt } from '../../prune/write/receipt.ts';
import { word } from './word.ts';

/** The page of a receipt. @param further measures beside those of the receipt */
export function pageOf(
  receipt: PruneReceipt,
  samples: PruneReport['samples'],
  further: readonly ReportedMeasure[] = [],
): string {
  const again = `espalier rollback MODEL --adapter DIR --request ${word(receipt.request)} --out NEW`;
  return prunePage({
    ...receipt,
    ...(samples && { samples }),
    measures: [...measuresOf(receipt), ...further],
    ...(receipt.earlier.length > 0 && { takeBack: [again] }),
  });
}

/** What lies beside an adapter. @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID for what is no such receipt */
export async function readPruneReceipt(folder: string): Promise<PruneReceipt> {
  const { name, value } = await readJsonFile(`${folder.replace(/[/\\]+$/, '')}/${PRUNE_FILE}`);
  if (isOptions(value) && value['receipt'] === 'espalier-prune' && value['version'] === 1) {
    checkReceipt(value, name);
    return value as unknown as PruneReceipt;
  }
  throw new EspalierError('E_DATA_INVALID', `${name} is no receipt of a pruning.`, 'Give the folder that prune wrote.');
}
