/**
 * Two tasks with free answers from HWU64: `json`, utterance to object, and `text`, meaning to utterance.
 *
 *     node --import tsx examples/free-answers/prepare.ts FOLDER-OF-HWU64 OUT
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asJson, asWords, type Meaning, meaningsOf } from './annotated.ts';

const [folder, out] = process.argv.slice(2);
if (folder === undefined || out === undefined) throw new Error('give the folder of HWU64, and one to write to');

const TASKS = {
  json: (one: Meaning) => ({ input: one.text, output: asJson(one) }),
  // without slots there is little to say
  text: (one: Meaning) => (one.slots.length > 0 ? { input: asWords(one), output: one.text } : null),
};

for (const part of ['train', 'test']) {
  const name = readdirSync(folder).find((file) => file.endsWith(`${part}.tsv`));
  if (name === undefined) throw new Error(`there is no ${part}.tsv in ${folder}`);
  const meanings = meaningsOf(readFileSync(join(folder, name), 'utf8'));
  for (const [task, example] of Object.entries(TASKS)) {
    const lines = meanings.flatMap((one) => example(one) ?? []).map((one) => JSON.stringify(one));
    mkdirSync(join(out, task), { recursive: true });
    writeFileSync(join(out, task, `${part}.jsonl`), `${lines.join('\n')}\n`);
    console.log(`${task}/${part}.jsonl: ${lines.length} examples`);
  }
}
