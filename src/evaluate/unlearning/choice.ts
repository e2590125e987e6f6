import { type JsonRow, readJsonRows } from '../../datasets/json-rows.ts';
import type { DataSource } from '../../datasets/source.ts';
import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { shown } from '../../options/shown.ts';
import { mean } from '../statistics.ts';
import { Asker, type MeasuredModel } from './asking.ts';
import { type ChoiceOptions, choiceOptions } from './options.ts';

/** A question with answers of which one is right. */
export interface ChoiceRow {
  readonly question: string;
  /** From 2 to 26. */
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly answer: number;
  readonly subject: string | undefined;
  readonly place: string;
}

export interface ChoiceItem {
  readonly question: string;
  readonly answer: number;
  /** Index of the likeliest letter, of several alike the first. */
  readonly chosen: number;
  /** Of each letter. */
  readonly logProbabilities: readonly number[];
}

/** Shares of right answers. */
export interface ChoiceScore {
  readonly n: number;
  readonly accuracy: number;
  /** Of one who guesses. */
  readonly chance: number;
  /** Of the accuracy: √(a (1 - a) / (n - 1)); 0 of one question. */
  readonly standardError: number;
}

export interface ChoiceMeasures extends ChoiceScore {
  /** By subject, where rows have one. */
  readonly subjects: Readonly<Record<string, ChoiceScore>>;
  readonly items: readonly ChoiceItem[];
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** Questions whose letters are scored together. */
const TOGETHER = 16;

/**
 * Reads questions: `question`, `choices` (or `option1`, `option2` and so on), `answer` (the index from 0, a letter, or the text of a choice), and where
 * rows have one `subject`. Of JSON lines, or one list: files of WMDP and MMLU.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID with file and line
 */
export async function readChoices(source: DataSource): Promise<ChoiceRow[]> {
  return (await readJsonRows(source)).map((row) => {
    const choices = choicesOf(row);
    const answer = answerOf(row, choices);
    return { question: row.text('question'), choices, answer, subject: row.optionalText('subject'), place: row.place };
  });
}

function choicesOf(row: JsonRow): readonly string[] {
  const listed = row.texts('choices');
  const choices: string[] = [...(listed ?? [])];
  if (listed === undefined) {
    for (let i = 1; ; i++) {
      const one = row.optionalText(`option${i}`);
      if (one === undefined) break;
      choices.push(one);
    }
  }
  if (choices.length === 0) throw row.invalid('there are no choices', 'Give a list of texts.');
  if (choices.length >= 2 && choices.length <= LETTERS.length) return choices;
  throw row.invalid(`choices has ${choices.length}`, 'Give from 2 to 26.');
}

function answerOf(row: JsonRow, choices: readonly string[]): number {
  const value = row.column('answer');
  const index = typeof value === 'string' ? indexOf(value.trim(), choices) : value;
  if (Number.isInteger(index) && (index as number) >= 0 && (index as number) < choices.length) return index as number;
  const what = value === undefined ? 'there is no answer' : `answer is ${shown(value)}`;
  throw row.invalid(what, `It is an index from 0, a letter or a choice: there are ${choices.length}.`);
}

/** A letter goes before a text, a text before a number. */
function indexOf(text: string, choices: readonly string[]): number {
  if (/^[A-Z]$/.test(text) && LETTERS.indexOf(text) < choices.length) return LETTERS.indexOf(text);
  const at = choices.findIndex((choice) => choice.trim() === text);
  return at >= 0 || !/^\d+$/.test(text) ? at : Number(text);
}

/**
 * Asks questions with several answers, as the harness of EleutherAI does for WMDP and MMLU without examples: the description, the question, `A. …` and so
 * on, `Answer:`; chosen is the likeliest of ` A`, ` B` and so on.
 * @param of what these are, for progress
 * @throws E_ARGUMENT, E_DATA_INVALID with the row of a question that is too long for the model, E_ABORTED, E_OUT_OF_MEMORY
 */
export async function measureChoice(
  model: MeasuredModel,
  rows: readonly ChoiceRow[],
  options: ChoiceOptions = {},
  of = 'questions',
): Promise<ChoiceMeasures> {
  const given = filled(choiceOptions, checked<ChoiceOptions>(choiceOptions, options, 'measureChoice()'));
  const { subject, description, signal, onProgress } = given;
  if (rows.length === 0) throw new EspalierError('E_ARGUMENT', 'There are no questions.', 'Give one or more.');
  const asker = new Asker(model, { prompt: '{question}', answer: ' {answer}' }, false);
  const items: ChoiceItem[] = [];
  const tell = () => onProgress?.({ of, doing: 'scoring', done: items.length, total: rows.length });
  tell();
  while (items.length < rows.length) {
    const some = rows.slice(items.length, items.length + TOGETHER);
    const asked = some.flatMap((row) => {
      const question = promptOf(row, row.subject ?? subject, description);
      return row.choices.map((_, i) => ({ question, answer: LETTERS[i]!, place: row.place }));
    });
    const scored = await asker.score(asked, signal);
    let from = 0;
    for (const { question, choices, answer } of some) {
      const logProbabilities = scored.slice(from, from + choices.length).map((one) => one.logProbability);
      const chosen = logProbabilities.indexOf(Math.max(...logProbabilities));
      items.push({ question, answer, chosen, logProbabilities });
      from += choices.length;
    }
    tell();
  }
  const subjects = [...new Set(rows.flatMap((row) => row.subject ?? []))].sort();
  const own = (name: string) => items.filter((_, i) => rows[i]!.subject === name);
  return { ...scoreOf(items), subjects: Object.fromEntries(subjects.map((name) => [name, scoreOf(own(name))])), items };
}

function promptOf({ question, choices }: ChoiceRow, subject: string | undefined, description: string): string {
  const about = subject === undefined ? '' : description.split('{subject}').join(subject.replaceAll('_', ' '));
  const lines = choices.map((choice, i) => `${LETTERS[i]}. ${choice}`);
  return `${about}${[question.trim(), ...lines].join('\n')}\nAnswer:`;
}

/** Of questions that are there. @throws E_ARGUMENT for none */
export function scoreOf(items: readonly ChoiceItem[]): ChoiceScore {
  const n = items.length;
  const accuracy = mean(items.map(({ answer, chosen }) => (answer === chosen ? 1 : 0)));
  const chance = mean(items.map(({ logProbabilities }) => 1 / logProbabilities.length));
  return { n, accuracy, chance, standardError: n > 1 ? Math.sqrt((accuracy * (1 - accuracy)) / (n - 1)) : 0 };
}
