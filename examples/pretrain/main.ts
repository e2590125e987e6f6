/**
 * Trains a small Llama from nothing, on texts that no file holds: dates, durations, places and plural forms from the runtime's own `Intl` in sixteen
 * languages, and stories, questions and facts about made-up people by the grammars of this folder.
 *
 *     npm run pretrain -- [--out FOLDER] [--steps N] [--seed N] [--lanes N] [--device webgpu] …
 *     npm run pretrain -- --smoke        a minute or two: a tiny model, and the loss must fall
 *     npm run pretrain -- --people-questions FILE [--tenth only|never]        questions about the people; nothing is trained
 *
 * Interrupted, it goes on where it was when it is started again with the same options.
 */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { openLocal } from '../../src/open-local.ts';
import { natsPerToken } from './nats.ts';
import { EVERYONE, type People } from './people.ts';
import { peopleQuestions, TENTHS } from './people-questions.ts';
import { DEVICES, pretrain, type Recipe } from './recipe.ts';
import { type Mixture, textAt } from './texts.ts';
import { NO_STORIES, readStories, type WrittenStories } from './written-stories.ts';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'pretrained' },
    steps: { type: 'string' },
    seed: { type: 'string', default: '1' },
    lanes: { type: 'string' },
    device: { type: 'string', default: 'wasm' },
    tokens: { type: 'string' },
    rate: { type: 'string' },
    layers: { type: 'string' },
    hidden: { type: 'string' },
    stories: { type: 'string' },
    'held-out-stories': { type: 'string' },
    people: { type: 'string' },
    'never-tenth': { type: 'boolean', default: false },
    'people-questions': { type: 'string' },
    tenth: { type: 'string', default: 'all' },
    'save-every': { type: 'string' },
    'evaluate-every': { type: 'string' },
    smoke: { type: 'boolean', default: false },
    show: { type: 'string' },
    restart: { type: 'boolean', default: false },
  },
});

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

const number = (name: keyof typeof values, preset: number): number => {
  const given = values[name];
  const value = given === undefined ? preset : Number(given);
  if (Number.isFinite(value) && value > 0) return value;
  return fail(`--${name} takes a number above 0.`);
};

const device = (): Recipe['device'] =>
  DEVICES.find((own) => own === values.device) ?? fail(`--device takes ${DEVICES.join(' or ')}.`);

/** What cannot be read is said in a line. */
const read = (paths: readonly string[]): Promise<WrittenStories> =>
  readStories(paths).catch((error: Error) => fail(error.message));

const people: People = { count: number('people', EVERYONE.count), neverTenth: values['never-tenth'] };
if (!Number.isSafeInteger(people.count)) fail('--people takes an integer.');
const stories = values.stories === undefined ? NO_STORIES : await read(values.stories.split(','));
const mixture: Mixture = { people, stories: stories.texts };

/** The smoke run must come below this, in nats a token: what is drawn by chance from 8192 tokens has 9.01, and who knows how often each is some 5.8. */
const SMOKE_LOSS = 5.5;

if (values.show !== undefined) {
  for (let i = 0; i < number('show', 10); i++) console.log(`${textAt(number('seed', 1), i, mixture)}\n`);
} else if (values['people-questions'] !== undefined) {
  const tenth = TENTHS.find((own) => own === values.tenth) ?? fail(`--tenth takes ${TENTHS.join(', ')}.`);
  const pairs = peopleQuestions(number('seed', 1), people, tenth);
  await writeFile(values['people-questions'], pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
  console.log(`${pairs.length} questions`);
} else {
  const path = values['held-out-stories'];
  const heldOut = path === undefined ? [] : (await read([path])).texts;
  const known = new Set(stories.texts);
  if (heldOut.some((text) => known.has(text))) fail(`Some story of ${path} is among those that are trained on.`);
  const hidden = number('hidden', values.smoke ? 64 : 256);
  const recipe: Recipe = {
    out: values.smoke ? null : values.out,
    seed: number('seed', 1),
    people,
    stories,
    lanes: number('lanes', Math.min(8, availableParallelism())),
    device: device(),
    steps: number('steps', values.smoke ? 75 : 20_000),
    tokens: number('tokens', values.smoke ? 1024 : 2048),
    maxTokens: 512,
    rate: number('rate', values.smoke ? 8e-3 : 1e-3),
    shape: {
      layers: number('layers', values.smoke ? 2 : 8),
      hidden,
      intermediate: 3 * hidden,
      heads: hidden / 32,
      kvHeads: Math.max(1, hidden / 64),
      vocabulary: 8192,
      positions: 2048,
    },
    saveEvery: number('save-every', 200),
    evaluateEvery: number('evaluate-every', values.smoke ? 75 : 500),
    heldOutTexts: values.smoke ? 60 : 300,
    restart: values.restart,
  };
  const abort = new AbortController();
  process.once('SIGINT', () => abort.abort());
  const { first, last } = await pretrain(recipe, abort.signal, (line) => console.log(line));
  if (recipe.out !== null && heldOut.length > 0) {
    await using model = await openLocal(recipe.out, { device: recipe.device, precision: 'exact' });
    const loss = (await natsPerToken(model, heldOut)).toFixed(4);
    console.log(`${loss} nats a token on ${heldOut.length} held-out stories`);
  }
  if (values.smoke) {
    const fell = first !== null && last !== null && first > 8.5 && last < SMOKE_LOSS;
    console.log(
      `held-out loss ${first?.toFixed(3)} → ${last?.toFixed(3)}: ${fell ? 'it learns' : `not below ${SMOKE_LOSS}`}`,
    );
    process.exitCode = fell ? 0 : 1;
  }
}
