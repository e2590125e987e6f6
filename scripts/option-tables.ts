/**
 * Writes the tables of options between the markers of the documentation: `<!-- options NAME -->` or `<!-- flags NAME … -->` to
 * `<!-- end -->`. Names, types, ranges and defaults come from the schemas, and what an option means from the comment that editors show.
 *
 *     node --import tsx scripts/option-tables.ts
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { program } from '../src/cli/program.ts';
import type { Command } from '../src/cli/shared/command.ts';
import { optionRows } from '../src/cli/shared/help.ts';
import { sequenceOptions, trainingDataOptions } from '../src/datasets/training/options.ts';
import { mergeThereOptions } from '../src/engine/grow/options.ts';
import { openOptions } from '../src/engine/model/open.ts';
import { engineOptions } from '../src/engine/options.ts';
import { pruneThereOptions } from '../src/engine/prune/options.ts';
import { encodeShotsOptions } from '../src/engine/show/encode-shots.ts';
import { relearnThereOptions, trainThereOptions } from '../src/engine/train/options.ts';
import { answersOptions } from '../src/evaluate/robustness/options.ts';
import {
  bleuOptions,
  chrfOptions,
  compareOptions,
  rougeMetricOptions,
  rougeOptions,
} from '../src/evaluate/scores/options.ts';
import { choiceOptions, fluencyOptions, museOptions, tofuOptions } from '../src/evaluate/unlearning/options.ts';
import { batchOptions } from '../src/model/generate/batch.ts';
import { generateOptions } from '../src/model/generate/options.ts';
import { embedOptions, encodePromptOptions, scoreOptions } from '../src/model/options.ts';
import { chatOptions, decodeOptions } from '../src/model/text/options.ts';
import type { AnyRule } from '../src/options/rules.ts';
import { forgetRetainOptions } from '../src/prune/data/open.ts';
import { subDomainOptions } from '../src/prune/domains/sub-domains.ts';
import { twoPhaseOptions } from '../src/prune/edit/options.ts';
import { unlearningOptions } from '../src/prune/edit/unlearn-options.ts';
import { auditOptions } from '../src/prune/entropy/audit.ts';
import { dataEntropyOptions } from '../src/prune/entropy/data-entropies.ts';
import { featureOptions } from '../src/prune/gate/features.ts';
import { softRoutingOptions } from '../src/prune/gate/soft-routing.ts';
import { gateOptions } from '../src/prune/gate/train-gate.ts';
import { isolationOptions } from '../src/prune/proof/isolation.ts';
import { hubOptions } from '../src/runtime/hub/options.ts';
import { askOptions, calibrateOptions, showOptions } from '../src/show/answer/options.ts';
import { chainsOptions } from '../src/show/place/options.ts';
import { poolOptions } from '../src/show/pool/options.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Files with markers. */
export const DOCUMENTS = [
  'README.md',
  'docs/options.md',
  'docs/showing.md',
  'docs/training.md',
  'docs/scores.md',
  'docs/pruning.md',
  'docs/unlearning-measures.md',
] as const;

/** Schemas, and the interfaces whose comments document them. */
const TABLES: Readonly<Record<string, readonly [Readonly<Record<string, AnyRule>>, ...string[]]>> = {
  open: [
    openOptions,
    'engine/options/EngineOptions',
    'open-local/OpenOptions',
    'engine/options/EngineOpenOptions',
    'engine/model/open/OpenOptions',
    'runtime/hub/options/FilesOptions',
  ],
  engine: [engineOptions, 'engine/options/EngineOptions'],
  hub: [hubOptions, 'runtime/hub/options/HubOptions'],
  generate: [
    generateOptions,
    'model/generate/options/GenerateOptions',
    'model/generate/options/SamplingOptions',
    'model/options/EncodePromptOptions',
    'model/options/PromptOptions',
  ],
  batch: [{ batch: batchOptions.batch, onToken: batchOptions.onToken }, 'model/generate/batch/BatchOptions'],
  merge: [
    mergeThereOptions as Readonly<Record<string, AnyRule>>,
    'engine/line/job/Place',
    'merge/options/MergeOptions',
    'runtime/hub/options/FilesOptions',
  ],
  chat: [chatOptions, 'model/text/options/ChatOptions'],
  encode: [encodePromptOptions, 'model/options/EncodePromptOptions'],
  decode: [decodeOptions, 'model/text/options/DecodeOptions'],
  score: [scoreOptions, 'model/options/ScoreOptions', 'model/options/EncodePromptOptions'],
  embed: [embedOptions, 'model/options/EmbedOptions', 'model/options/EncodePromptOptions'],
  pool: [poolOptions, 'show/pool/options/PoolOptions'],
  chains: [chainsOptions, 'show/place/options/ChainsOptions', 'show/place/options/ChainOptions'],
  show: [showOptions, 'show/answer/options/ShowOptions', 'show/place/options/ContextOptions'],
  ask: [askOptions, 'show/answer/options/AskOptions'],
  calibrate: [calibrateOptions, 'show/answer/options/CalibrateOptions'],
  trainingData: [trainingDataOptions, 'datasets/training/options/TrainingDataOptions'],
  sequences: [sequenceOptions, 'datasets/training/options/SequenceOptions'],
  train: [
    trainThereOptions as Readonly<Record<string, AnyRule>>,
    'engine/line/job/Place',
    'engine/line/job/ComputingPlace',
    'train/options/TrainOptions',
    'train/options/PlanTrainOptions',
    'train/plan/recipe/TrainRecipe',
    'datasets/training/options/TrainingDataOptions',
    'datasets/training/options/SequenceOptions',
    'runtime/hub/options/FilesOptions',
  ],
  bleu: [bleuOptions, 'evaluate/scores/options/BleuOptions'],
  chrf: [chrfOptions, 'evaluate/scores/options/ChrfOptions'],
  rouge: [rougeOptions, 'evaluate/scores/options/RougeOptions'],
  rougeMetric: [
    rougeMetricOptions,
    'evaluate/scores/options/RougeMetricOptions',
    'evaluate/scores/options/RougeOptions',
  ],
  tofu: [
    tofuOptions,
    'evaluate/unlearning/options/TofuOptions',
    'evaluate/unlearning/options/AskingOptions',
    'evaluate/unlearning/options/MeasureRunOptions',
  ],
  muse: [
    museOptions,
    'evaluate/unlearning/options/MuseOptions',
    'evaluate/unlearning/options/AskingOptions',
    'evaluate/unlearning/options/MeasureRunOptions',
  ],
  choice: [choiceOptions, 'evaluate/unlearning/options/ChoiceOptions'],
  fluency: [fluencyOptions, 'evaluate/unlearning/options/FluencyOptions', 'evaluate/unlearning/options/AskingOptions'],
  answers: [answersOptions, 'evaluate/robustness/options/AnswersOptions', 'datasets/training/options/SequenceOptions'],
  relearn: [
    relearnThereOptions as Readonly<Record<string, AnyRule>>,
    'engine/line/job/Place',
    'engine/line/job/ComputingPlace',
    'evaluate/robustness/options/RelearnOptions',
    'evaluate/robustness/options/RelearnSettings',
    'datasets/training/options/TrainingDataOptions',
    'datasets/training/options/SequenceOptions',
    'runtime/hub/options/FilesOptions',
  ],
  compare: [compareOptions, 'evaluate/scores/options/CompareOptions', 'evaluate/scores/options/SamplingOptions'],
  audit: [
    auditOptions,
    'prune/entropy/audit/AuditOptions',
    'prune/entropy/options/EntropyOptions',
    'model/options/EncodePromptOptions',
  ],
  forgetRetain: [
    forgetRetainOptions,
    'prune/data/open/ForgetRetainOptions',
    'datasets/training/options/TrainingDataOptions',
  ],
  prune: [
    pruneThereOptions as Readonly<Record<string, AnyRule>>,
    'engine/line/job/Place',
    'engine/line/job/ComputingPlace',
    'prune/options/PruneOptions',
    'prune/options/PruneRecipe',
    'prune/data/open/ForgetRetainOptions',
    'prune/entropy/options/EntropyOptions',
    'prune/edit/options/TwoPhaseOptions',
    'datasets/training/options/TrainingDataOptions',
    'datasets/training/options/SequenceOptions',
    'runtime/hub/options/FilesOptions',
  ],
  twoPhases: [twoPhaseOptions, 'prune/edit/options/TwoPhaseOptions'],
  gateExamples: [featureOptions, 'prune/gate/features/FeatureOptions'],
  isolation: [isolationOptions, 'prune/proof/isolation/IsolationOptions'],
  unlearning: [unlearningOptions, 'prune/edit/unlearn-options/UnlearningOptions'],
  trainGate: [gateOptions, 'prune/gate/train-gate/GateOptions'],
  softRouting: [softRoutingOptions, 'prune/gate/soft-routing/SoftRoutingOptions'],
  subDomains: [subDomainOptions, 'prune/domains/sub-domains/SubDomainOptions'],
  dataEntropies: [
    dataEntropyOptions,
    'prune/entropy/data-entropies/DataEntropyOptions',
    'prune/entropy/options/EntropyOptions',
    'datasets/training/options/SequenceOptions',
  ],
  encodeShots: [
    encodeShotsOptions,
    'engine/show/encode-shots/EncodeShotsOptions',
    'show/pool/options/PoolOptions',
    'open-local/OpenOptions',
    'runtime/hub/options/FilesOptions',
  ],
};

/** What all calls have in common, where the interface says nothing of its own. */
const COMMON: Readonly<Record<string, string>> = {
  signal: 'Aborts it: E_ABORTED.',
  onProgress: 'Called while it runs: what is done, and of how much.',
  laneLocation: 'The script of a lane, where it is not beside the JavaScript.',
  eosToken: 'The same of the end-of-text token.',
};

/** The comments of an interface's members, by name. */
export async function commentsOf(place: string): Promise<ReadonlyMap<string, string>> {
  const at = place.lastIndexOf('/');
  const name = place.slice(at + 1);
  const source = await readFile(`${root}src/${place.slice(0, at)}.ts`, 'utf8');
  const body = new RegExp(`export interface ${name}\\b[^{]*\\{\\n(.*?)\\n\\}`, 's').exec(source)?.[1];
  if (body === undefined) throw new Error(`src/${place.slice(0, at)}.ts has no interface ${name}.`);
  const comments = new Map<string, string>();
  for (const [, comment, member] of body.matchAll(/^ {2}(?:\/\*\*(.*?)\*\/\n {2})?readonly (\w+)\??:/gms)) {
    if (comment === undefined) continue;
    comments.set(
      member!,
      comment
        .replace(/^\s*\* ?/gm, '')
        .replace(/\s+/g, ' ')
        .trim(),
    );
  }
  return comments;
}

const cell = (text: string): string => text.replace(/\|/g, '\\|');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows.map((row) => row.map(cell))]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');
}

async function optionTable(name: string): Promise<string> {
  const [schema, ...places] = TABLES[name] ?? fault(`There is no table ${name}.`);
  const comments = await Promise.all(places.map(commentsOf));
  const rows = Object.entries(schema).map(([option, rule]) => {
    const comment = comments.map((own) => own.get(option)).find((own) => own !== undefined) ?? COMMON[option];
    if (comment === undefined) throw new Error(`${name}.${option} has no comment.`);
    const preset = rule.default === undefined ? '' : `\`${JSON.stringify(rule.default)}\``;
    return [`\`${option}\``, rule.fields ? 'an object' : rule.takes, preset, comment];
  });
  return table(['option', 'takes', 'default', 'meaning'], rows);
}

/** Flags of several commands; those that are the same stand once. */
async function flagTable(names: readonly string[]): Promise<string> {
  const rows = new Map<string, { flag: string; about: string; of: string[] }>();
  for (const path of names) {
    const command = await commandAt(path);
    const name = path.slice(path.indexOf('/') + 1);
    for (const [flag, about] of optionRows(command.args ?? {})) {
      if (flag === '-h, --help') continue;
      const key = `${flag.trim()}\n${about}`;
      const row = rows.get(key) ?? { flag: flag.trim(), about, of: [] };
      row.of.push(name);
      rows.set(key, row);
    }
  }
  const lines = [...rows.values()].map(({ flag, about, of }) => [
    flag
      .split(', ')
      .map((part) => `\`${part}\``)
      .join(', '),
    of.length === names.length ? 'all' : of.join(', '),
    about,
  ]);
  return table(['flag', 'of', 'meaning'], lines);
}

/** Of a name, or of names with a slash between. */
async function commandAt(path: string): Promise<Command> {
  let command = program;
  for (const name of path.split('/')) {
    const found = command.subCommands?.[name] ?? fault(`There is no command ${path}.`);
    command = typeof found === 'function' ? await found() : found;
  }
  return command;
}

function fault(message: string): never {
  throw new Error(message);
}

/** The text with its tables as they should be. */
export async function withTables(text: string): Promise<string> {
  const parts = text.split(/(?<=<!-- (?:options|flags) [\w/ ]+ -->\n)(.*?)(?=<!-- end -->)/s);
  for (let i = 1; i < parts.length; i += 2) {
    const [, kind, names] = /<!-- (options|flags) ([\w/ ]+) -->\n$/.exec(parts[i - 1]!)!;
    const list = names!.split(' ');
    parts[i] = `\n${kind === 'flags' ? await flagTable(list) : await optionTable(list[0]!)}\n\n`;
  }
  return parts.join('');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const name of DOCUMENTS) {
    const text = await readFile(root + name, 'utf8');
    await writeFile(root + name, await withTables(text));
  }
  console.log('Run `npm run format` for the widths of the columns.');
}
