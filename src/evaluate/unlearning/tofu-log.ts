import { readJsonFile } from '../../datasets/json-rows.ts';
import type { DataSource } from '../../datasets/source.ts';
import { EspalierError } from '../../errors.ts';
import { isOptions } from '../../options/rules.ts';
import { shown } from '../../options/shown.ts';
import type { KsTest } from './ks-test.ts';
import { forgetQuality } from './measures.ts';
import type { TofuMeasures } from './tofu.ts';
import type { TofuSet } from './tofu-data.ts';

/** What a measurement of another model is held against: as it was measured, or as an earlier run wrote it. */
export type TofuReference = Pick<TofuMeasures, 'truthRatio' | 'sha256' | 'form'> & {
  readonly items?: readonly { readonly question: string }[];
};

/** Sets of an earlier run. */
export interface TofuLog {
  /** Of the file, for messages. */
  readonly name: string;
  readonly model: string;
  readonly sets: Readonly<Record<string, TofuReference>>;
}

/**
 * Reads what `espalier eval tofu` wrote, by `--json` or to its `--log`.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID for what is no such file
 */
export async function readTofuLog(source: DataSource): Promise<TofuLog> {
  const { name, value } = await readJsonFile(source);
  if (!isOptions(value) || !isOptions(value['sets']) || typeof value['model'] !== 'string') {
    throw invalid(name, 'this is not what an earlier run wrote', 'Write one with --log FILE or --json.');
  }
  const sets = Object.entries(value['sets']).map(([set, measures]) => [set, referenceOf(name, set, measures)] as const);
  return { name, model: value['model'], sets: Object.fromEntries(sets) };
}

function referenceOf(name: string, set: string, measures: unknown): TofuReference {
  const { truthRatio, sha256, form, items } = isOptions(measures) ? measures : {};
  const ratios = truthRatio ?? null;
  const right =
    typeof sha256 === 'string' &&
    typeof form === 'string' &&
    (ratios === null || (Array.isArray(ratios) && ratios.every((one) => typeof one === 'number' && one >= 0)));
  if (!right) {
    throw invalid(name, `the set ${set} is not as a run writes it`, 'Write it anew with --log FILE or --json.');
  }
  const questions = Array.isArray(items) && items.every((one) => isOptions(one) && typeof one['question'] === 'string');
  return { truthRatio: ratios, sha256, form, ...(questions && { items: items as { question: string }[] }) };
}

/**
 * Forget quality of what was measured on a set against a model that never saw its answers.
 * @throws as `checkTofuReference`
 */
export function tofuForgetQuality(
  set: TofuSet,
  own: Pick<TofuMeasures, 'truthRatio' | 'form'>,
  reference: TofuReference | undefined,
  of: string,
): KsTest {
  const ratios = checkTofuReference(set, own.form, reference, of);
  return forgetQuality(own.truthRatio!, ratios);
}

/**
 * Whether a reference is of the same questions and answers, asked in the same form.
 * @param form as `formOf` says it
 * @param of the reference, for messages
 * @returns its truth ratios
 * @throws E_ARGUMENT for a set without wrong answers; E_DATA_INVALID where the reference is of others
 */
export function checkTofuReference(
  set: TofuSet,
  form: string,
  reference: TofuReference | undefined,
  of: string,
): readonly number[] {
  const { name, rows } = set;
  if (!set.perturbed) {
    const hint = 'Forget quality is of a set with perturbed_answer.';
    throw new EspalierError('E_ARGUMENT', `${name} has no wrong answers.`, hint);
  }
  if (reference === undefined) throw invalid(of, `there is no set ${name}`, 'Measure the reference on the same set.');
  const { items, truthRatio } = reference;
  if (set.sha256 !== reference.sha256) {
    const at = items?.findIndex(({ question }, i) => question !== rows[i]?.question) ?? -1;
    const what =
      at >= 0
        ? `question ${at + 1} of ${name} is ${shown(items![at]!.question)}, and here ${shown(rows[at]?.question)}`
        : `${name} was measured with other questions or answers`;
    throw invalid(of, what, 'Measure the reference on the same data.');
  }
  if (form !== reference.form) {
    const what = `${name} was asked as ${shown(reference.form)}, and here as ${shown(form)}`;
    throw invalid(of, what, 'Measure both with the same prompts.');
  }
  if (truthRatio?.length === rows.length) return truthRatio;
  throw invalid(of, `${name} has ${truthRatio?.length ?? 'no'} truth ratios`, `There are ${rows.length} questions.`);
}

const invalid = (name: string, what: string, hint: string): EspalierError =>
  new EspalierError('E_DATA_INVALID', `${name}: ${what}.`, hint);
