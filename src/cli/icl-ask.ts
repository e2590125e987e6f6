import { AdapShot } from '../adapshot/adapshot.ts';
import { Chain } from '../adapshot/chain.ts';
import { defined } from '../adapshot/defined.ts';
import type { AdapShotOptions } from '../adapshot/options.ts';
import { ShotPool } from '../adapshot/pool.ts';
import { poolOptionsOf, settingsOf } from '../adapshot/presets.ts';
import { renderQuery } from '../adapshot/templates.ts';
import type { Answer } from '../adapshot/types.ts';
import { fittingShots, shotsOf } from '../evaluate/setting.ts';
import { defineCommand } from './command.ts';
import { numberOf } from './common.ts';
import { formatBytes, formatDuration, formatTable, Progress } from './format.ts';
import { poolOf } from './icl-build.ts';
import {
  choiceOf,
  countOf,
  dataOf,
  ensembleArgument,
  gridArgument,
  iclArguments,
  listOf,
  openForShots,
  orderArgument,
  orderOf,
  prefixArgument,
  prefixOf,
  rankArgument,
  rankOf,
  storageOf,
  storeOf,
  temperatureArgument,
  voteArgument,
  voteOf,
} from './icl-options.ts';

/** Examples of a chain, unless told otherwise. */
const MOST = 128;

const text = (description: string) => ({ type: 'string', description }) as const;

export const iclAskCommand = defineCommand({
  meta: { name: 'ask', description: 'Answer a query by as many examples as it needs' },
  args: {
    ...iclArguments,
    query: { type: 'positional', description: 'What is asked, without the words of the template', required: true },
    preset: text('label, generate or parity (label where the data have labels)'),
    shots: text('Use exactly so many examples, and try nothing'),
    chain: { type: 'boolean', description: 'Examples in one fixed order, each seeing those before it', default: false },
    prefix: prefixArgument,
    rank: rankArgument,
    grid: gridArgument,
    order: orderArgument,
    temperature: temperatureArgument,
    ensemble: ensembleArgument,
    vote: voteArgument,
    threshold: text('Entropy that is sure enough'),
    'max-tokens': text('Most tokens of a free answer (256)'),
    compare: { type: 'boolean', description: 'Ask full attention over the same examples too', default: false },
    json: iclArguments.json,
  },
  run: async ({ args, io, signal }) => {
    const count = countOf(args, 'shots');
    const rank = rankOf(args);
    const prefix = prefixOf(args);
    const common = defined({ instruction: args.instruction as string | undefined });
    const pooling = defined({ prefix, storage: storageOf(args) });
    const wanted = choiceOf(args, 'preset', ['label', 'generate', 'parity']);
    const settings = defined({
      rank,
      grid: listOf(args, 'grid'),
      order: orderOf(args),
      ensemble: choiceOf(args, 'ensemble', ['one', 'all']),
      vote: voteOf(args),
      temperature: numberOf('temperature', args.temperature),
      threshold: numberOf('threshold', args.threshold),
      maxTokens: countOf(args, 'max-tokens', 1),
    });
    const { task, template } = await dataOf(args);
    const preset = wanted ?? (task.kind === 'labels' ? 'label' : 'generate');
    // by keys, all examples would have to be encoded for one query
    const byWords = preset === 'label' && args.store === undefined && rank === undefined;
    const options: AdapShotOptions = {
      ...settings,
      ...(byWords && { rank: 'bm25' }),
      preset,
      prompt: template.output,
      // what closes a shot closes an answer
      stop: [`\n${template.separator}`],
      ...(task.kind === 'labels' && preset !== 'generate' && { labels: task.labels }),
    };
    settingsOf(options, args.chain); // what is wrong is said before a model is opened
    const shots = shotsOf(template, poolOf(args, task));
    const store = await storeOf(args);
    const { model, close } = await openForShots(args, signal);
    const bar = new Progress({ label: 'encoding', total: null, silent: args.json });
    try {
      const source = args.chain
        ? await Chain.create(
            model,
            count === undefined ? fittingShots(model, shots.slice(0, MOST), common.instruction) : shots.slice(0, count),
            { ...common, signal },
          )
        : await ShotPool.build(model, shots, {
            ...common,
            ...poolOptionsOf(preset),
            ...pooling,
            store,
            grow: { initial: 0 },
            signal,
            onProgress: ({ done }) => bar.update(done),
          });
      let show: AdapShot | null = null;
      try {
        show = await AdapShot.create(source, options);
        const query = renderQuery(template, args.query);
        const asked = { input: args.query, compare: args.compare, signal, ...defined({ shots: count }) };
        let answer: Answer;
        if (options.labels || args.json) {
          answer = await show.ask(query, asked);
          bar.end();
          if (!args.json) io.out(`${answer.text}\n`);
        } else {
          const stream = show.stream(query, asked);
          for await (const { text: piece } of stream) {
            bar.end();
            io.out(piece);
          }
          answer = await stream.answer();
          io.out('\n');
        }
        if (args.json) io.out(`${JSON.stringify(answer)}\n`);
        else io.err(`${describe(answer)}\n`);
      } finally {
        show?.close();
        source.close();
      }
    } finally {
      bar.end();
      close();
    }
  },
});

/** What was done, for a person. */
function describe({ receipt, probabilities }: Answer): string {
  const { probes, chosen, fallback, tokens, bytes, milliseconds, comparison, exactness } = receipt;
  const sure = Object.entries(probabilities ?? {}).sort(([, a], [, b]) => b - a);
  const rows: [string, string][] = [
    ['examples', `${chosen}${fallback ? ', none was sure enough' : ''}`],
    ['tried', probes.map(({ shots, entropy }) => `${shots}: ${entropy.toFixed(3)}`).join(', ') || 'nothing'],
    ['tokens', `${tokens.reused} reused, ${tokens.forwarded} computed`],
    ['cache', `${formatBytes(bytes.cache)}, pool ${formatBytes(bytes.pool)}`],
    ['time', formatDuration(milliseconds.total / 1000)],
    ['attention', exactness],
  ];
  if (sure.length) {
    const best = sure.slice(0, 3).map(([label, p]) => `${label} ${p.toFixed(3)}`);
    rows.unshift(['probability', best.join(', ')]);
  }
  if (comparison) {
    const same = comparison.sameLabel ?? comparison.sameToken;
    rows.push([
      'full attention',
      `${same ? 'the same' : 'another'} answer, KL ${comparison.divergence.toPrecision(3)}`,
    ]);
  }
  for (const warning of receipt.warnings) rows.push(['warning', warning]);
  return formatTable(null, rows);
}
