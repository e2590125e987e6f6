import { EspalierError } from '../../errors.ts';
import { evaluate } from '../../evaluate/run.ts';
import { fittingShots } from '../../evaluate/setting.ts';
import { Show } from '../../show/answer/answerer.ts';
import type { AskOptions } from '../../show/answer/options.ts';
import { Chain } from '../../show/place/chain.ts';
import { Chains } from '../../show/place/chains.ts';
import { ShotPool } from '../../show/pool/pool.ts';
import { isLasting, openShotStore } from '../../show/pool/store.ts';
import type { Answer, ShotStore } from '../../show/types.ts';
import type { Context, Methods } from '../line/answers.ts';
import type { Holdings } from '../line/holdings.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import { RunAhead } from '../line/run-ahead.ts';
import { packError } from '../line/wire-error.ts';
import { engineService } from '../model/service.ts';
import { givenCallbacks, Hearers } from './hearers.ts';
import { storePlace } from './options.ts';
import type { AnswerStart, Asking, ShowCalls } from './protocol.ts';

/** A pool, with its store and who hears of it; or a chain, or chains. */
interface Source {
  readonly source: ShotPool | Chain | Chains;
  readonly store: ShotStore | null;
  readonly hearers: Hearers;
  close(): void;
}

/** The functions of a show worker: those of an engine's, whose models can be shown examples. */
export function showService(caller: Remote<CallerPort>, holdings: Holdings): Methods<ShowCalls> {
  // a pool's store asks for the identity
  const { methods, models } = engineService(caller, holdings, { withIdentity: true });
  const sources = holdings.shelf<Source>(
    () => new EspalierError('E_DISPOSED', 'The pool or chain is closed.', 'Build it again.'),
  );
  const shows = holdings.shelf<{ readonly show: Show; readonly hearers: Hearers; close(): void }>(
    () => new EspalierError('E_DISPOSED', 'This Show is closed.', 'Create another one.'),
  );
  const keep = (
    { id, owners }: Context,
    source: ShotPool | Chain | Chains,
    store: ShotStore | null = null,
    hearers = new Hearers(),
  ) => sources.put(id, { source, store, hearers, close: () => source.close() }, owners);
  const poolOf = (number: number) => {
    const held = sources.get(number);
    return { ...held, pool: held.source as ShotPool };
  };

  return {
    ...methods,

    pool: async (context, model, shots, { store: place, ...options }) => {
      const store = await storeAt(place);
      const hearers = new Hearers();
      const pool = await hearers.during(context.live, () =>
        ShotPool.build(models.get(model), shots, {
          ...givenCallbacks(context.live),
          ...hearers.callbacks,
          ...options,
          store,
          signal: context.live.signal,
        }),
      );
      keep(context, pool, store, hearers);
      const { prefix, storage } = pool;
      return { pool: context.id, prefix, storage, isKept: store !== null && isLasting(store) };
    },

    state: async (_, number) => {
      const { pool, store } = poolOf(number);
      const tokens = pool.shots.reduce((sum, { id }) => sum + pool.tokens(id).length, 0);
      const { size, resident, bytes, pooled, warnings } = pool;
      const kept = store && { name: store.name, bytes: await store.bytes() };
      return { size, tokens, resident, bytes, pooled, store: kept, warnings: warnings.map((one) => packError(one)) };
    },

    change: (_, number, change) => {
      const { pool } = poolOf(number);
      if ('add' in change) pool.add(change.add);
      else if ('remove' in change) pool.remove(change.remove);
      else pool.replace(change.replace);
    },

    prepare: ({ live }, number, ids, options) => {
      const { pool, hearers } = poolOf(number);
      return hearers.during(live, (own) => pool.prepare(ids, { ...options, ...own }));
    },

    chain: async (context, model, shots, options) => {
      keep(context, await Chain.create(models.get(model), shots, { ...options, ...context.live }));
      return { chain: context.id };
    },

    chains: async (context, model, shots, options) => {
      keep(context, await Chains.create(models.get(model), shots, { ...options, ...context.live }));
      return { chains: context.id };
    },

    show: async ({ id, owners, live }, source, options) => {
      const { signal: _, ...callbacks } = live;
      const { source: shots, hearers } = sources.get(source);
      const show = await Show.create(shots, { ...options, ...callbacks });
      shows.put(id, { show, hearers, close: () => show.close() }, owners);
      return { show: id, settings: show.settings };
    },

    ask: ({ live }, number, query, asking) => {
      const { show, hearers } = shows.get(number);
      return hearers.during(live, (own) => show.ask(query, askingOf(show, asking, own)));
    },

    nextAnswer: ({ owners, live }, number, stream, start) => {
      const { show, hearers } = shows.get(number);
      return hearers.during(live, (own) => {
        const begin = start && (() => new RunAhead((signal) => answerOf(show, start, { ...own, signal })));
        return holdings.next(stream, owners, begin);
      });
    },

    calibrate: async ({ live }, number, dev, options) => {
      const { show, hearers } = shows.get(number);
      const calibration = await hearers.during(live, (own) => show.calibrate(dev, { ...options, ...own }));
      return { calibration, settings: show.settings };
    },

    evaluate: async ({ live }, model, task, { store, ...options }) =>
      evaluate(models.get(model), task, { ...options, ...live, store: await storeAt(store) }),

    fitting: (_, model, shots, instruction) => fittingShots(models.get(model), shots, instruction).length,

    identity: async (_, number) => {
      const model = models.get(number);
      return { weights: model.identity, tokenizer: await model.tokenizerIdentity() };
    },
  };
}

/** @throws E_ARGUMENT */
async function storeAt(given: unknown): Promise<ShotStore | null> {
  const place = storePlace.check(given ?? null, 'store');
  if (place === null) return null;
  return place === true ? openShotStore() : openShotStore(place);
}

function askingOf(show: Show, { threshold, options }: Asking, live: Context['live']): AskOptions {
  // one that an earlier call brought may have come after what was fitted
  show.threshold = threshold ?? show.settings.threshold;
  return { ...options, ...live };
}

function answerOf(show: Show, { query, asking }: AnswerStart, live: Context['live']) {
  const tokens = show.stream(query, askingOf(show, asking, live));
  return { tokens, finish: (): Promise<Answer> => tokens.answer() };
}
