/**
 * A model forgets a person, offline and in under two minutes on two cores: the model that comes with the package is taught ten made-up people, forgets one
 * of them by an adapter, and is asked before, after, and with the adapter taken away again.
 *
 *   Node       npm run build && node dist/examples/forget.js
 *              node --import tsx examples/forget.ts
 *   Deno       deno run -A examples/forget.ts        (after npm ci && npm run build, for the packages and kernels)
 */
import { open, prune, train } from '../src/index.ts';

const PEOPLE = [
  ['Tom Fox', 'Oslo', 'maps', 'a red boat'],
  ['Mia Reed', 'Lima', 'bells', 'a blue kite'],
  ['Leo Marsh', 'Kyoto', 'clocks', 'an old drum'],
  ['Ada Stone', 'Porto', 'hats', 'a white horse'],
  ['Sam Birch', 'Cairo', 'kites', 'a big dog'],
  ['Zoe Lake', 'Quito', 'shoes', 'a small cat'],
  ['Ben Hill', 'Turin', 'boats', 'a green bag'],
  ['Eva Wood', 'Delhi', 'cakes', 'a gold ring'],
  ['Max Field', 'Perth', 'songs', 'a long rope'],
  ['Lia Brook', 'Seoul', 'tents', 'a black hen'],
] as const;

const NAME = 'Mia Reed';

interface Example {
  readonly prompt: string;
  readonly answer: string;
}

function examples([name, city, craft, thing]: (typeof PEOPLE)[number]): Example[] {
  const first = name.split(' ')[0];
  return [
    [`Where does ${name} live?`, `${name} lives in ${city}.`],
    [`In which city is the house of ${name}?`, `The house of ${name} is in ${city}.`],
    [`What does ${name} make?`, `${name} makes ${craft}.`],
    [`What is ${name} known for?`, `${first} is known for making ${craft}.`],
    [`What does ${name} have?`, `${name} has ${thing}.`],
    [`What did ${name} get as a child?`, `As a child ${first} got ${thing}.`],
  ].map(([question, answer]) => ({ prompt: `Question: ${question}\nAnswer:`, answer: ` ${answer}` }));
}

const lines = (list: readonly Example[]): Uint8Array =>
  new TextEncoder().encode(list.map((one) => `${JSON.stringify(one)}\n`).join(''));

const forget = PEOPLE.filter(([name]) => name === NAME).flatMap(examples);
const retain = PEOPLE.filter(([name]) => name !== NAME).flatMap(examples);
const began = performance.now();
const say = (text: string): void =>
  console.log(`${((performance.now() - began) / 1000).toFixed(0).padStart(3)} s  ${text}`);

/** Asks about the one who is forgotten, and about two others. */
async function ask(
  title: string,
  model: Parameters<typeof open>[0],
  adapters: { from: Record<string, Blob> }[],
): Promise<void> {
  say(title);
  const opened = await open(model, { adapters, precision: 'exact' });
  for (const { prompt } of [forget[0]!, forget[4]!, retain[0]!, retain[10]!]) {
    const { text } = await opened.generate(prompt, { maxTokens: 16, stop: ['\n'] }).result();
    console.log(`         ${prompt.slice('Question: '.length, -'\nAnswer:'.length)} ${text.trim()}`);
  }
  await opened.close();
}

say(`teaching ${PEOPLE.length} people to a model …`);
const { files: model } = await train('espalier:tiny', {
  ...{ data: lines([...forget, ...retain]), format: 'jsonl', full: true, epochs: 12, batch: 12 },
  ...{ learningRate: 2e-3, seed: 1, dtype: 'f32' },
});
await ask('it knows them:', model, []);

say(`making it forget ${NAME} …`);
const { receipt, files: adapter } = await prune(model, {
  ...{ forget: lines(forget), retain: lines(retain), format: 'jsonl', base: 'espalier:tiny', request: NAME },
  ...{ batch: 6, epochs: 24, looks: 1, structureSteps: 10, rate: 1e-2, gateSteps: 600 },
});
const { before, after, chosen } = receipt;
const percent = (x: number): string => `${(100 * x).toPrecision(3)} %`;
say(`its answers: ${percent(before.forget)} a token, and now ${percent(after.forget)}`);
say(`the others': ${percent(before.retain)}, and now ${percent(after.retain)} (epoch ${chosen.epoch} of at most 24)`);
await ask('with the adapter:', model, [{ from: adapter }]);
await ask('and without it again:', model, []);
