import { renderQuery } from '../datasets/templates.ts';
import { Chain, fittingShots } from '../engine/show/chains.ts';
import type { ShowOptions } from '../engine/show/options.ts';
import { ShotPool } from '../engine/show/pool.ts';
import { Show } from '../engine/show/show.ts';
import { shotsOf } from '../evaluate/setting.ts';
import { defined } from '../options/defined.ts';
import { poolOptionsOf, settingsOf } from '../show/answer/presets.ts';
import type { Answer, PrefixMode, ShowReceipt, WorkEstimate } from '../show/types.ts';
import { defineCommand } from './shared/command.ts';
import { formatBytes, formatDuration, formatTable, Progress } from './shared/format.ts';
import {
  answerArguments,
  askArguments,
  dataOf,
  describeWork,
  openForShots,
  prefixArgument,
  rankOf,
  showArguments,
  storeOf,
} from './shared/show-options.ts';
import { poolOf } from './show-build.ts';

/** Examples of a chain, unless told otherwise. */
const MOST = 128;

export const showAskCommand = defineCommand({
  meta: { name: 'ask', description: 'Answer a query by as many examples as it needs' },
  args: {
    ...showArguments,
    query: { type: 'positional', description: 'What is asked, without the words of the template', required: true },
    ...askArguments,
    chain: { type: 'boolean', description: 'Examples in one fixed order, each seeing those before it', default: false },
    prefix: prefixArgument,
    ...answerArguments,
    compare: { type: 'boolean', description: 'Ask full attention over the same examples too', default: false },
    json: showArguments.json,
  },
  run: async ({ args, io, signal }) => {
    const { shots: count, prefix, storage, preset: wanted, instruction, seed } = args;
    const { grid, order, ensemble, vote, ridge, temperature, threshold, 'max-tokens': maxTokens } = args;
    const rank = rankOf(args.rank, seed);
    const common = defined({ instruction });
    const pooling = defined({ prefix, storage });
    const settings = defined({ rank, grid, order, ensemble, vote, ridge, temperature, threshold, maxTokens });
    const { task, template } = await dataOf(args);
    const preset = wanted ?? (task.kind === 'labels' ? 'label' : 'generate');
    // by keys, all examples would have to be encoded for one query
    const withoutKeys = rank === undefined || rank === 'bm25' || args.rank === 'random';
    const byWords = preset === 'label' && args.store === undefined && withoutKeys && !ridge;
    const options: ShowOptions = {
      ...settings,
      ...(byWords && { rank: rank ?? 'bm25', ridge: null }),
      preset,
      prompt: template.output,
      // what closes a shot closes an answer
      stop: [`\n${template.separator}`],
      ...(task.kind === 'labels' && preset !== 'generate' && { labels: task.labels }),
    };
    settingsOf(options, sourceOf(args.chain, prefix)); // what is wrong is said before a model is opened
    const shots = shotsOf(template, poolOf(args, task));
    const model = await openForShots(args, io, signal);
    const bar = new Progress({ label: 'encoding', total: 1, silent: args.json });
    const watching = {
      signal,
      onEstimate: (estimate: WorkEstimate) => {
        if (!args.json && estimate.seconds !== null && estimate.seconds > 2) io.err(`${describeWork(estimate)}\n`);
      },
    };
    try {
      const source = args.chain
        ? await Chain.create(
            model,
            shots.slice(0, count ?? (await fittingShots(model, shots.slice(0, MOST), instruction))),
            {
              ...common,
              ...watching,
              onProgress: (done, total) => bar.update(done / total),
            },
          )
        : await ShotPool.build(model, shots, {
            ...common,
            ...poolOptionsOf(preset),
            ...pooling,
            store: storeOf(args),
            grow: { initial: 0 },
            ...watching,
            onProgress: ({ tokens, totalTokens }) => bar.update(tokens / (totalTokens || 1)),
          });
      const show = await Show.create(source, options);
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
      bar.end();
      await model.close();
    }
  },
});

/** What was done, for a person. */
function describe({ receipt, top = [] }: Answer): string {
  const { probes, chosen, ridge, fallback, tokens, bytes, milliseconds, comparison, exactness } = receipt;
  const rows: [string, string][] = [
    ['examples', `${chosen}${fallback ? ', none was sure enough' : ''}`],
    ['tried', probes.map(({ shots, entropy }) => `${shots}: ${entropy.toFixed(3)}`).join(', ') || 'nothing'],
    ...(ridge ? [['the pool', poolSaid(ridge)] as [string, string]] : []),
    ['tokens', `${tokens.reused} reused, ${tokens.forwarded} computed`],
    ['cache', `${formatBytes(bytes.cache)}, pool ${formatBytes(bytes.pool)}`],
    ['time', formatDuration(milliseconds.total / 1000)],
    ...(ridge?.sure ? [] : [['attention', exactness] as [string, string]]),
  ];
  if (top.length > 0) {
    const best = top.slice(0, 3).map(({ label, probability }) => `${label} ${probability.toFixed(3)}`);
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

/** What ridge regression and the vote said before any example was shown. */
function poolSaid({ label, entropy, sure, scored }: NonNullable<ShowReceipt['ridge']>): string {
  const said = `${label}, entropy ${entropy.toFixed(3)}`;
  return sure ? `${said}: sure without examples` : `${said}; the model was asked for ${scored} labels`;
}

function sourceOf(chain: boolean, prefix: PrefixMode | undefined): 'chain' | 'blocks' | 'pool' {
  if (chain) return 'chain';
  return typeof prefix === 'object' && 'blocks' in prefix && prefix.blocks > 1 ? 'blocks' : 'pool';
}
