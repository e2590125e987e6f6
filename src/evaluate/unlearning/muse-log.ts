import { readJsonFile } from '../../datasets/json-rows.ts';
import type { DataSource } from '../../datasets/source.ts';
import { EspalierError } from '../../errors.ts';
import { isOptions } from '../../options/rules.ts';
import type { PrivacyData } from './muse-folder.ts';

/**
 * The area under the curve that an earlier run of `espalier eval muse` wrote, by `--json` or to its `--log`.
 * @param data texts that it must be of
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID for what is no such file, and where it is of other texts
 */
export async function readMuseAuc(source: DataSource, data: PrivacyData): Promise<number> {
  const { name, value } = await readJsonFile(source);
  const { auc, sha256 } = isOptions(value) ? value : {};
  if (typeof auc !== 'number' || !(auc >= 0 && auc <= 1) || typeof sha256 !== 'string') {
    const what = `${name} is not what an earlier run wrote, or has no PrivLeak.`;
    throw new EspalierError('E_DATA_INVALID', what, 'Write one with --log FILE or --json.');
  }
  if (sha256 === data.sha256) return auc;
  throw new EspalierError(
    'E_DATA_INVALID',
    `${name} is of other texts.`,
    'Measure the reference on the same privleak_forget and privleak_holdout.',
  );
}
