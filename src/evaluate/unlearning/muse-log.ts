import { readJsonFile } from '../../datasets/json-rows.ts';
import type { DataSource } from '../../datasets/source.ts';
import { EspalierError } from '../../errors.ts';
import { isOptions } from '../../options/rules.ts';
import type { PrivacyData } from './muse-folder.ts';

/**
 * The area under the curve that an earlier run of `espalier eval muse` wrote, by `--json` or to its `--log`.
 * @param data texts that it must be of
 * @param wanted share of their tokens that Min-K must have looked at
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID for what is no such file, and where it is of other texts or another share
 */
export async function readMuseAuc(source: DataSource, data: PrivacyData, wanted: number): Promise<number> {
  const { name, value } = await readJsonFile(source);
  const { auc, sha256, share } = isOptions(value) ? value : {};
  if (typeof auc !== 'number' || !(auc >= 0 && auc <= 1) || typeof sha256 !== 'string' || typeof share !== 'number') {
    const what = `${name} is not what an earlier run wrote, or has no PrivLeak.`;
    throw new EspalierError('E_DATA_INVALID', what, 'Write one with --log FILE or --json.');
  }
  if (sha256 !== data.sha256) {
    const hint = 'Measure the reference on the same privleak_forget and privleak_holdout.';
    throw new EspalierError('E_DATA_INVALID', `${name} is of other texts.`, hint);
  }
  if (share === wanted) return auc;
  const what = `${name} is of a share of ${share}, and here it is ${wanted}.`;
  throw new EspalierError('E_DATA_INVALID', what, 'Measure both with the same share.');
}
