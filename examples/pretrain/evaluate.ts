/**
 * What a model has learned of the texts that examples/pretrain trains on, by texts that no training comes to.
 *
 *     node --import tsx examples/pretrain/evaluate.ts MODEL [--seed 1] [--people N] [--held-out-stories FILE]
 *       [--device wasm|webgpu] [--texts 60] [--translations 20] [--questions 200]
 *
 * `--texts` of each kind, `--translations` into each language, `--questions` about people of either group.
 */
import { parseArgs } from 'node:util';
import { openLocal } from '../../src/open-local.ts';
import { lossByKind, type Share, shareOfPeople, translationShares } from './measures.ts';
import { natsPerToken } from './nats.ts';
import { EVERYONE } from './people.ts';
import { DEVICES } from './recipe.ts';
import { readStories } from './written-stories.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    people: { type: 'string', default: String(EVERYONE.count) },
    'held-out-stories': { type: 'string' },
    device: { type: 'string', default: 'wasm' },
    texts: { type: 'string', default: '60' },
    translations: { type: 'string', default: '20' },
    questions: { type: 'string', default: '200' },
  },
});

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function whole(name: 'seed' | 'people' | 'texts' | 'translations' | 'questions'): number {
  const value = Number(values[name]);
  return Number.isSafeInteger(value) && value >= 0 ? value : fail(`--${name} takes an integer from 0 on.`);
}

const device = DEVICES.find((own) => own === values.device) ?? fail(`--device takes ${DEVICES.join(' or ')}.`);
const target = positionals[0] ?? fail('Give the folder of a model.');
const seed = whole('seed');
const people = { count: whole('people') || fail('--people takes an integer above 0.'), neverTenth: false };
const file = values['held-out-stories'];
const read = async (path: string): Promise<readonly string[]> =>
  (await readStories([path]).catch((error: Error) => fail(error.message))).texts;
const stories = file === undefined ? [] : await read(file);

const shown = ({ right, asked }: Share): string => `${((100 * right) / Math.max(1, asked)).toFixed(1)} % of ${asked}`;

await using model = await openLocal(target, { device, precision: 'exact' });

console.log('held-out loss, nats a token');
for (const [kind, loss] of await lossByKind(model, { seed, people, texts: whole('texts') }))
  console.log(`  ${kind.padEnd(24)}${loss.toFixed(4)}`);
if (stories.length > 0) {
  const loss = (await natsPerToken(model, stories)).toFixed(4);
  console.log(`  ${'held-out stories'.padEnd(24)}${loss} (${stories.length})`);
}

console.log('translations that are right to the letter, by the language that they are into');
let all: Share = { right: 0, asked: 0 };
for (const [language, share] of await translationShares(model, seed, whole('translations'))) {
  console.log(`  ${language.padEnd(24)}${shown(share)}`);
  all = { right: all.right + share.right, asked: all.asked + share.asked };
}
console.log(`  ${'all'.padEnd(24)}${shown(all)}`);

console.log('questions about people that are answered to the letter');
for (const [group, tenth] of [
  ['those of the tenth', 'only'],
  ['all others', 'never'],
] as const)
  console.log(`  ${group.padEnd(24)}${shown(await shareOfPeople(model, seed, people, tenth, whole('questions')))}`);

for (const own of [1, 2, 3]) {
  const { text } = await model.generate('Once upon a time', { temperature: 0.7, maxTokens: 120, seed: own }).result();
  console.log(`story of seed ${own}: Once upon a time${text}`);
}
