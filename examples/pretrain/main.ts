/**
 * Trains a small Llama from nothing, on texts that no file holds: dates, durations, places and plural forms from the runtime's own `Intl` in sixteen
 * languages, and stories, questions and facts about made-up people by the grammars of this folder.
 *
 *     npm run pretrain -- [--out FOLDER] [--steps N] [--seed N] [--lanes N] [--device webgpu] …
 *     npm run pretrain -- --smoke        a minute or two: a tiny model, and the loss must fall
 *
 * Interrupted, it goes on where it was when it is started again with the same options.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { DEVICES, pretrain, type Recipe } from './recipe.ts';

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
    'save-every': { type: 'string' },
    'evaluate-every': { type: 'string' },
    smoke: { type: 'boolean', default: false },
    show: { type: 'string' },
    restart: { type: 'boolean', default: false },
  },
});

const number = (name: keyof typeof values, preset: number): number => {
  const given = values[name];
  const value = given === undefined ? preset : Number(given);
  if (Number.isFinite(value) && value > 0) return value;
  console.error(`--${name} takes a number above 0.`);
  process.exit(2);
};

const device = (): Recipe['device'] => {
  const kind = DEVICES.find((own) => own === values.device);
  if (kind !== undefined) return kind;
  console.error(`--device takes ${DEVICES.join(' or ')}.`);
  process.exit(2);
};

/** The smoke run must come below this, in nats a token: what is drawn by chance from 8192 tokens has 9.01, and who knows how often each is some 5.8. */
const SMOKE_LOSS = 5.5;

if (values.show !== undefined) {
  const { textAt } = await import('./texts.ts');
  for (let i = 0; i < number('show', 10); i++) console.log(`${textAt(number('seed', 1), i)}\n`);
} else {
  const hidden = number('hidden', values.smoke ? 64 : 256);
  const recipe: Recipe = {
    out: values.smoke ? null : values.out,
    seed: number('seed', 1),
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
  if (values.smoke) {
    const fell = first !== null && last !== null && first > 8.5 && last < SMOKE_LOSS;
    console.log(
      `held-out loss ${first?.toFixed(3)} → ${last?.toFixed(3)}: ${fell ? 'it learns' : `not below ${SMOKE_LOSS}`}`,
    );
    process.exitCode = fell ? 0 : 1;
  }
}
