import { type PruneOptions, pruneThereOptions } from '../../engine/prune/options.ts';
import type { ArgumentSpecs, Values } from './command.ts';
import { answerArguments, dataOptionsOf, OF_DATA, OF_PROGRAMS, sequenceOptionsOf } from './data-flags.ts';
import { deviceFlag, optionFlags } from './flags.ts';
import { number, written } from './written.ts';

const flags = optionFlags<PruneOptions>(pruneThereOptions, {
  out: { value: 'FOLDER', description: 'The folder to write, which must not exist or be empty', unless: 'dry-run' },
  base: { value: 'MODEL', description: 'The model before it learned this: its entropies tell facts from structure' },
  reference: { value: 'MODEL', description: 'A model that never learned this: what forgetting should come to' },
  earlier: { value: 'DIR', description: 'An adapter of earlier requests, whose experts stay as they are' },
  request: { value: 'NAME', description: 'What the request is called, to be taken back by; default request-1, …' },
  apart: { value: 'WHAT', description: 'What may not be in both sets: a question, or one with the same answer' },
  q: { value: 'Q', description: 'Order of the Tsallis entropy that tells high from low' },
  cut: { value: 'S', description: 'High is what has an entropy above this; default 1.2' },
  percentile: { value: 'P', description: 'In place of a cut: this percentile of the entropies' },
  fallback: {
    description: 'The 80th percentile replaces a cut that separates too little (the default)',
    negative: 'The cut stays, whatever is above it',
  },
  objective: {
    value: 'NAME',
    description: 'What is given in its place: hinge (anything else), or what the base gives; default base, with --base',
  },
  mask: {
    value: 'WHAT',
    description: 'Tokens of answers that are forgotten: low (entropy), all or high; default low of hinge, all of base',
  },
  schedule: { value: 'NAME', description: 'When A learns: in a Phase I (phases), or in every step (interleaved)' },
  structureSteps: { value: 'N', description: 'Steps of Phase I; 0: none' },
  structureOrder: { value: 'Q', description: 'Order of the entropies that Phase I keeps' },
  regulariser: { value: 'NAME', description: 'What keeps structure there: entropy, kl or entropy-gradient' },
  invariance: { value: 'X', description: 'Its factor' },
  epochs: {
    value: 'N',
    description: 'Most times through what is to be forgotten; default 3 of hinge, 6 of base, of few examples more',
  },
  batch: { value: 'N', description: 'Sequences of a step' },
  rows: { value: 'N', description: 'Most tokens that go through the model together (default 2048)' },
  rate: { value: 'X', description: 'Learning rate of every B' },
  sharedRate: { value: 'X', description: 'Learning rate of A, in Phase I' },
  forgetting: { value: 'X', description: 'Factor of the loss of what is forgotten' },
  retention: { value: 'X', description: 'Factor of the cross-entropy of what is kept' },
  clip: { value: 'X', description: 'Largest norm of a gradient' },
  looks: { value: 'N', description: 'Looks within an epoch, of which the best is kept; of few examples fewer' },
  enough: { value: 'P', description: 'An expert rests once the probability of its answers is below this' },
  strengths: null, // below
  measured: { value: 'N', description: 'Most examples of either side that a look measures' },
  domains: null, // below
  rank: { value: 'N', description: 'Of the factors' },
  alpha: { value: 'X', description: 'The adapter is multiplied by alpha / rank; default: the rank' },
  targets: null, // --targets
  gate: { value: 'KIND', description: 'What chooses experts: global, hidden, both or literal' },
  gateSteps: { value: 'N', description: 'Steps of the gate’s training' },
  gateTokens: { value: 'N', description: 'Most tokens of what is kept that it learns from at first' },
  gateRounds: { value: 'N', description: 'How often it learns from what it got wrong in the rest' },
  gateUnits: { value: 'N', description: 'Between its two layers' },
  path: { value: 'NAME', description: 'Where experts act: pn, wherever the gate says so; tr, at high entropies alone' },
  alignment: { value: 'NAME', description: 'High or low by what comes (predictive), or by the token itself (lagged)' },
  routeCut: { value: 'S', description: 'Entropy above which experts share a position; default: none' },
  saveEvery: { value: 'N', description: 'Steps between two states to go on from; 0: none' },
  restart: { description: 'Throw away an unfinished job with other options' },
  seed: { value: 'N', description: 'Of all that is drawn' },
  device: deviceFlag,
  lanes: { value: 'N', description: 'Threads that compute; auto: one for each core' },
  memoryLimit: { value: 'BYTES', description: 'Most bytes on the device; default 4 GiB, on a GPU none' },
  forget: null,
  retain: null,
  unseen: null,
  ...OF_DATA,
  ...OF_PROGRAMS,
});

const domains = written(pruneThereOptions.domains, 'an integer from 1 to 64, auto, or column=NAME', (text) => {
  const [, column] = /^column=(.+)$/s.exec(text) ?? [];
  return column === undefined ? (text === 'auto' ? text : number(text)) : { column };
});

const strengths = written(pruneThereOptions.strengths, 'numbers above 0 and up to 10, separated by commas', (text) =>
  text.split(',').map(number),
);

const { data: _, ...data } = answerArguments as ArgumentSpecs & typeof answerArguments;

const files = (description: string) => ({ type: 'string', value: 'FILE', many: true, description }) as const;

export const pruneArguments = {
  forget: { ...files('Examples to forget: JSON lines, TSV, CSV or plain text'), required: true },
  retain: { ...files('Examples to keep, of the same kinds and of others'), required: true },
  unseen: files('Examples of the same form that the model has never seen: what forgetting should come to'),
  ...data,
  'max-tokens': {
    ...data['max-tokens']!,
    description: 'Most tokens of an example; default: the model’s context, and at most 1024',
  },
  domains: {
    type: 'string',
    value: 'N|auto|column=NAME',
    description: 'Sub-domains, each with an expert (default 1)',
    rule: domains,
  },
  targets: { type: 'string', value: 'NAME', many: true, description: 'Linear layers, such as q_proj; default: all' },
  strengths: {
    type: 'string',
    value: 'X,X,…',
    description: 'Factors of the experts that each look tries (default 0.8,0.9,1,1.1)',
    rule: strengths,
  },
  ...flags.args,
} as const;

type Given = Readonly<Record<string, unknown>> & Values<typeof pruneArguments>;

/** What they say. @throws E_ARGUMENT */
export function pruneOptionsOf(args: Given): PruneOptions {
  const { heldOut: _, onProgress: __, signal: ___, seed: ____, ...read } = dataOptionsOf(args);
  const { loss: _____, ...sequences } = sequenceOptionsOf(args);
  const { forget, retain, unseen, targets } = args;
  return {
    ...read,
    ...sequences,
    ...flags.options(args),
    ...{ forget, retain },
    ...(unseen !== undefined && { unseen }),
    ...(targets !== undefined && { targets }),
    ...(args.domains !== undefined && { domains: args.domains }),
    ...(args.strengths !== undefined && { strengths: args.strengths }),
  };
}
