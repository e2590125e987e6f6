import { type JsonRow, readJsonRows } from '../../datasets/json-rows.ts';
import type { DataSource } from '../../datasets/source.ts';
import { sha256 } from '../../runtime/files/hash.ts';

/** A question of TOFU. */
export interface TofuRow {
  readonly question: string;
  readonly answer: string;
  /** The right answer in other words; where the data have none, the answer itself. */
  readonly paraphrased: string;
  /** Wrong answers in the form of the right one; null where the data have none. */
  readonly perturbed: readonly string[] | null;
  /** `FILE, line N`. */
  readonly place: string;
}

/** One file of TOFU: which measures it has follows from its name and columns. */
export interface TofuSet {
  /** Of the file, without its ending, such as `forget10_perturbed`. */
  readonly name: string;
  readonly rows: readonly TofuRow[];
  /** Whether all rows have wrong answers: without there is no truth ratio. */
  readonly perturbed: boolean;
  /** SHA-256 of questions and answers, by which two measurements are known to be of the same. */
  readonly sha256: string;
}

/**
 * Reads a set: rows with `question`, `answer`, and where there are wrong answers `perturbed_answer`, a list or one text, and `paraphrased_answer`. Of
 * JSON lines, or one list.
 * @param name says what is measured: `forget…`, `retain…`, `real_authors…`, `world_facts…`
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID with file and line, also where only some rows have wrong answers, or none of `…_perturbed`
 */
export async function readTofuSet(name: string, source: DataSource): Promise<TofuSet> {
  const records = await readJsonRows(source);
  const perturbed = /_perturbed$/.test(name) || records[0]!.column('perturbed_answer') !== undefined;
  const rows = records.map((record) => rowOf(record, perturbed));
  const content = rows.map(({ place: _, ...row }) => Object.values(row));
  return { name, rows, perturbed, sha256: await sha256(JSON.stringify(content)) };
}

function rowOf(record: JsonRow, perturbed: boolean): TofuRow {
  const answer = record.text('answer');
  const wrong = record.texts('perturbed_answer') ?? null;
  if (perturbed && wrong === null) {
    throw record.invalid('there is no perturbed_answer', 'All rows of a set have wrong answers, or none.');
  }
  return {
    question: record.text('question'),
    answer,
    paraphrased: record.optionalText('paraphrased_answer') ?? answer,
    perturbed: wrong,
    place: record.place,
  };
}
