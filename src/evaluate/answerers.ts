import { renderQuery } from '../datasets/templates.ts';
import { EspalierError } from '../errors.ts';
import { defined } from '../options/defined.ts';
import { Show } from '../show/answer/answerer.ts';
import type { ShowOptions } from '../show/answer/options.ts';
import { settingsOf } from '../show/answer/presets.ts';
import { Chain } from '../show/place/chain.ts';
import { Chains } from '../show/place/chains.ts';
import { MOST_CLUSTERED, MOST_CLUSTERS } from '../show/place/clusters.ts';
import { ShotPool } from '../show/pool/pool.ts';
import { vote } from '../show/rank/bm25.ts';
import { needsVector } from '../show/rank/rank.ts';
import type { Answer, PrefixMode, Preset, ShotOrder } from '../show/types.ts';
import type { AdaptivePreset, Arm, FixedRanking } from './arms.ts';
import { openDbsa } from './dbsa.ts';
import { scoreLabels } from './plain.ts';
import { labelOf, promptIds, queryIds, roomy } from './prompts.ts';
import { entropyOf, MOST_SHOWN, recorded } from './recorded.ts';
import { fittingShots, type Setting } from './setting.ts';
import type { Answered, Answerer } from './types.ts';

/** Of a fixed ranking: the shots' ids, the best first, and whether each item has an order of its own. */
interface FixedOrder {
  readonly ofItem: boolean;
  ids(setting: Setting, input: string): readonly string[];
}

const FIXED: Readonly<Record<FixedRanking, FixedOrder>> = {
  random: { ofItem: false, ids: ({ random }) => random },
  bm25: { ofItem: true, ids: ({ rank }, input) => rank(input).map(({ id }) => id) },
};

/** Settings of `Show` that adaptive arms begin with. */
const PRESETS: Readonly<Record<AdaptivePreset, Preset>> = {
  parity: 'parity',
  label: 'label',
  chain: 'label',
  chains: 'label',
};

/** Stored keys and values of one prefix mode at a time, and the chain: arms that follow each other share them. */
export class Pools {
  readonly #setting: Setting;
  #mode: string | null = null;
  #pool: ShotPool | null = null;
  #chain: Chain | null = null;
  #chains: Chains | null = null;

  constructor(setting: Setting) {
    this.#setting = setting;
  }

  async pool(prefix: PrefixMode): Promise<ShotPool> {
    const mode = JSON.stringify(prefix);
    if (this.#pool && this.#mode === mode) return this.#pool;
    this.#close();
    const { model, shots, options } = this.#setting;
    const { instruction, storage, store, signal, onWarning, byteLimit = 2 ** 30 } = options;
    this.#mode = mode;
    this.#pool = await ShotPool.build(model, shots, {
      prefix,
      byteLimit,
      grow: { initial: 0, most: Math.max(1, shots.length) },
      onProgress: ({ done, total }) => this.#setting.preparing('encoding', done, total),
      ...defined({ instruction, storage, store, signal, onWarning }),
    });
    return this.#pool;
  }

  /** The random shots in their order, as many as the largest count of an arm needs and as fit beside a query. */
  async chain(): Promise<Chain> {
    if (this.#chain) return this.#chain;
    this.#close();
    const { model, options, shots, random } = this.#setting;
    const { instruction, signal, arms } = options;
    const counts = arms.map((arm) => (arm.kind === 'fixed' && arm.attention === 'chain' ? arm.shots : 0));
    const adaptive = arms.some((arm) => arm.kind === 'adaptive' && arm.preset === 'chain');
    const byId = new Map(shots.map((shot) => [shot.id, shot]));
    const wanted = random.slice(0, Math.max(adaptive ? MOST : 0, ...counts)).map((id) => byId.get(id)!);
    const fitting = fittingShots(model, wanted, instruction);
    const onProgress = (done: number, total: number) => this.#setting.preparing('reading', done, total);
    this.#chain = await Chain.create(model, fitting, { ...defined({ instruction, signal }), onProgress });
    return this.#chain;
  }

  /** One for each cluster, of all shots. */
  async chains(): Promise<Chains> {
    if (this.#chains) return this.#chains;
    this.#close();
    const { model, options, shots } = this.#setting;
    const { instruction, signal, clusters } = options;
    const onProgress = (done: number, total: number) => this.#setting.preparing('reading', done, total);
    this.#chains = await Chains.create(model, shots, { ...defined({ instruction, signal, clusters }), onProgress });
    return this.#chains;
  }

  close(): void {
    this.#close();
  }

  #close(): void {
    this.#pool?.close();
    this.#chain?.close();
    this.#chains?.close();
    this.#pool = null;
    this.#chain = null;
    this.#chains = null;
  }
}

/** Shots of an adaptive chain, as the largest count of the protocol (spec 7.3). */
const MOST = 128;
/** @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED */
export async function openArm(arm: Arm, setting: Setting, pools: Pools): Promise<Answerer> {
  switch (arm.kind) {
    case 'vote':
      return voting(arm.shots, setting);
    case 'zero-shot':
      return openFull([], setting);
    case 'fixed':
      if (arm.attention === 'full') {
        return FIXED[arm.ranking].ofItem
          ? openRanked(arm, setting)
          : openFull(setting.random.slice(0, arm.shots), setting);
      }
      return openReused(arm, setting, pools);
    case 'adaptive':
      return openReused(arm, setting, pools);
    case 'dbsa':
      return openDbsa(arm, setting);
    case 'oracle':
      throw new Error('an oracle is computed from other arms');
    default:
      throw arm satisfies never;
  }
}

function voting(count: number, { rank, shots }: Setting): Answerer {
  const labels = new Map(shots.map(({ id, label }) => [id, label!]));
  return {
    answer: async (input) => {
      const started = performance.now();
      const near = rank(input).slice(0, count);
      const votes = vote(near.map(({ id, score }) => ({ label: labels.get(id)!, score })));
      const milliseconds = performance.now() - started;
      const [winner] = votes;
      const times = { firstMilliseconds: milliseconds, milliseconds };
      return {
        label: winner!.label,
        shots: near.length,
        ...times,
        forwarded: 0,
        reused: 0,
        ...recorded(
          votes.map(({ label }) => label),
          votes.map(({ share }) => share),
          near.map(({ id }) => id),
        ),
      };
    },
    close: () => {},
  };
}

/** Full attention over the same shots for every item: they are read once, and every item's time includes that. */
async function openFull(ids: readonly string[], setting: Setting): Promise<Answerer> {
  const { decoder } = setting.model;
  const cache = roomy(decoder);
  const started = performance.now();
  const prefix = promptIds(setting, ids);
  try {
    // a pass over nothing would be refused
    if (prefix.length > 0) await decoder.forward(prefix, cache, { output: 'last', signal: setting.options.signal });
  } catch (error) {
    cache.dispose();
    throw error;
  }
  const reading = performance.now() - started;
  return {
    answer: async (input) => {
      const scores = await scoreLabels(decoder, cache, queryIds(setting, input), setting.trie, setting.options.signal);
      return {
        label: labelOf(setting, scores),
        shots: ids.length,
        firstMilliseconds: reading + scores.firstMilliseconds,
        milliseconds: reading + scores.milliseconds,
        forwarded: prefix.length + scores.forwarded,
        reused: 0,
        ...recorded(setting.labels, scores.probabilities, ids),
      };
    },
    close: () => cache.dispose(),
  };
}

/** Full attention over the shots that are nearest to each item. */
function openRanked({ ranking, shots }: Extract<Arm, { kind: 'fixed' }>, setting: Setting): Answerer {
  const { decoder } = setting.model;
  return {
    answer: async (input) => {
      const started = performance.now();
      const best = FIXED[ranking].ids(setting, input).slice(0, shots);
      const ids = promptIds(setting, placedOrder(ranking, best, setting.options.order));
      const before = performance.now() - started;
      const cache = roomy(decoder);
      try {
        const all = [...ids, ...queryIds(setting, input)];
        const scores = await scoreLabels(decoder, cache, all, setting.trie, setting.options.signal);
        return {
          label: labelOf(setting, scores),
          shots: best.length,
          firstMilliseconds: before + scores.firstMilliseconds,
          milliseconds: before + scores.milliseconds,
          forwarded: scores.forwarded,
          reused: 0,
          ...recorded(setting.labels, scores.probabilities, best),
        };
      } finally {
        cache.dispose();
      }
    },
    close: () => {},
  };
}

type Reusing = Extract<Arm, { kind: 'fixed' | 'adaptive' }>;

async function openReused(arm: Reusing, setting: Setting, pools: Pools): Promise<Answerer> {
  const { options, dev } = setting;
  const { template, signal, threshold } = options;
  const from = arm.kind === 'fixed' ? arm.attention : arm.preset;
  const chained = from === 'chain' || from === 'chains';
  const source = await (from === 'chain'
    ? pools.chain()
    : from === 'chains'
      ? pools.chains()
      : pools.pool(modeOf(arm, options.repair)));
  if (arm.kind === 'fixed') checkLengths(source, arm.shots);
  const show = await Show.create(source, settingsOfArm(arm, setting));
  try {
    // all keys that ranking looks at, before anything is timed
    const { rank, ridge } = show.settings;
    if (source instanceof ShotPool && (ridge || (rank !== 'contrast' && needsVector(rank))))
      await source.preparePooled({ signal });
    if (arm.kind === 'adaptive' && threshold === undefined && dev.length > 0 && arm.preset !== 'parity') {
      const items = dev.map(({ input, output }) => ({ query: renderQuery(template, input), input, label: output }));
      const onProgress = (done: number, total: number) => setting.preparing('calibrating', done, total);
      await show.calibrate(items, { ...defined({ signal }), onProgress });
    }
  } catch (error) {
    show.close();
    throw error;
  }
  return {
    answer: async (input, compare) => {
      const started = performance.now();
      let fixed = {};
      if (arm.kind === 'fixed' && !chained) {
        const ranking = FIXED[arm.ranking].ids(setting, input);
        fixed = { ranking: placedOrder(arm.ranking, ranking.slice(0, arm.shots), options.order) };
      }
      const before = performance.now() - started;
      const count = arm.kind === 'fixed' ? { shots: arm.shots } : {};
      const answer = await show.ask(renderQuery(template, input), {
        input, // words of the template are in no example's input, or worse: in some
        ...fixed,
        ...count,
        compare,
        ...defined({ signal }),
      });
      return answered(answer, before, arm.kind === 'adaptive');
    },
    close: () => show.close(),
  };
}

/** @throws E_CONTEXT_LENGTH where a chain is shorter than an arm needs */
function checkLengths(source: ShotPool | Chain | Chains, shots: number): void {
  if (source instanceof ShotPool) return;
  const chains = source instanceof Chains ? source.chains : [source];
  const least = Math.min(...chains.map(({ placed }) => placed.length));
  if (shots <= least) return;
  throw new EspalierError(
    'E_CONTEXT_LENGTH',
    `A chain has ${least} shots, not ${shots}: as many as its cluster has, or as fit the model.`,
    'Use fewer shots, or fewer clusters.',
  );
}

function answered(
  { label, probabilities = {}, top = [], receipt }: Answer,
  before: number,
  adaptive: boolean,
): Answered {
  const { milliseconds, tokens, comparison } = receipt;
  // what is encoded for one item is there for all later ones
  const total = before + milliseconds.total - milliseconds.encode;
  return {
    label: label!,
    shots: receipt.chosen,
    // the pass that gives the first token gives the label's probabilities too
    firstMilliseconds: total,
    milliseconds: total,
    encodeMilliseconds: milliseconds.encode,
    forwarded: tokens.forwarded,
    reused: tokens.reused,
    top,
    entropy: entropyOf(Object.values(probabilities)),
    shown: receipt.shots.slice(0, MOST_SHOWN),
    ...(adaptive && {
      tried: [...(receipt.ridge ? [{ shots: 0, ...receipt.ridge }] : []), ...receipt.probes].map(
        ({ shots, entropy, label }) => ({ shots, entropy, label }),
      ),
      threshold: receipt.threshold,
      probes: receipt.probes.length,
      fallback: receipt.fallback,
    }),
    ...(comparison && { divergence: comparison.divergence, agrees: comparison.sameLabel ?? comparison.sameToken }),
  };
}

function modeOf(arm: Reusing, repair = 8): PrefixMode {
  if (arm.kind === 'adaptive') return 'bare';
  const { attention } = arm;
  switch (attention) {
    case 'bare':
    case 'prefixed':
      return attention;
    case 'repair':
      return { repair };
    case 'full':
    case 'chain':
    case 'chains':
      throw new Error(`${attention} attention has no pool`);
    default:
      throw attention satisfies never;
  }
}

/** What is wrong with the options of an arm, before anything is opened. @throws E_ARGUMENT */
export function checkArm(arm: Arm, setting: Pick<Setting, 'options' | 'labels'>): void {
  if (arm.kind !== 'fixed' && arm.kind !== 'adaptive') return;
  const from = arm.kind === 'fixed' ? arm.attention : arm.preset;
  settingsOf(settingsOfArm(arm, setting), from === 'chain' || from === 'chains' ? 'chain' : 'pool');
  const { clusters = 1, pool } = setting.options;
  if (from !== 'chains' || (clusters <= MOST_CLUSTERS && pool <= MOST_CLUSTERED)) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `A pool of ${pool} in ${clusters} clusters is too much for ${arm.name}.`,
    `Give at most ${MOST_CLUSTERED} and ${MOST_CLUSTERS}, or leave the arms chains out.`,
  );
}

function settingsOfArm(arm: Reusing, setting: Pick<Setting, 'options' | 'labels'>): ShowOptions {
  const { options, labels } = setting;
  const { scoring = 'sum', temperature, grid, threshold, ensemble, vote, ridge } = options;
  const preset = arm.kind === 'adaptive' ? PRESETS[arm.preset] : 'label';
  if (preset === 'parity') {
    return { preset, labels, prompt: options.template.output, ...defined({ grid }) };
  }
  const adaptive = arm.kind === 'adaptive';
  const from = arm.kind === 'adaptive' ? arm.preset : null;
  // those of fixed arms are given in the order in which they stand, and are answered behind that alone
  const order = adaptive ? options.order : 'best-first';
  return {
    preset,
    labels,
    prompt: options.template.output,
    scoring,
    ...(!adaptive && { rank: 'bm25' as const, ensemble: 'one' as const, vote: null, ridge: null }),
    ...defined({
      temperature,
      order,
      ...(adaptive && { grid, threshold, ensemble, vote, ...(from === 'label' && { rank: options.rank, ridge }) }),
    }),
  };
}

/** Ranked shots of fixed arms stand with the best nearest to the query unless told otherwise, random ones as they come. */
function placedOrder(
  ranking: FixedRanking,
  ids: readonly string[],
  order: ShotOrder = 'best-nearest',
): readonly string[] {
  return FIXED[ranking].ofItem && order === 'best-nearest' ? ids.toReversed() : ids;
}
