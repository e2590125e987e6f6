/** What the classes of showing have in common on the caller's side. */
import { EspalierError } from '../../errors.ts';
import { optionsOf, readable } from '../../options/check.ts';
import { signal as signalRule } from '../../options/rules.ts';
import { shown } from '../../options/shown.ts';
import type { Owned } from '../line/owned.ts';
import { type Callback, type PartedOptions, partOptions } from '../line/parted-options.ts';
import { heldOf, type Model } from '../model/model.ts';
import type { SignalOption } from '../model/options.ts';
import { SHOW, type ShowCalls } from './protocol.ts';

/** The worker's side of a model that can be shown examples. @throws E_ARGUMENT */
export function shownModel(model: Model): Owned<ShowCalls> {
  const held = heldOf(model);
  if (!held) {
    throw new EspalierError(
      'E_ARGUMENT',
      `The model is ${shown(model)}.`,
      'Give what open() of espalier opens; espalier/show takes what openLocal() opens.',
    );
  }
  if (held.link.kind !== SHOW) {
    throw new EspalierError(
      'E_ARGUMENT',
      `The engine of ${model.name} shows no examples.`,
      'Open the model, or create the engine, with { show: true }.',
    );
  }
  return held as unknown as Owned<ShowCalls>;
}

/**
 * Options parted into what crosses and what stays. The worker checks them: here only what could not cross is refused.
 * @param what the call, for messages
 * @throws E_ARGUMENT
 */
export function parted<T extends object>(options: T, what: string): PartedOptions<T> {
  return readable(`The options of ${what}`, () => {
    const given: T & SignalOption = { ...(optionsOf(options, what) as T) };
    if (given.signal !== undefined) signalRule.check(given.signal, 'signal');
    return partOptions(given, `${what} of espalier/show`);
  });
}

/** What examples stand in: the worker's side of it, and the callbacks that hear of its work. */
export interface Source {
  readonly held: Owned<ShowCalls>;
  readonly callbacks: Readonly<Record<string, Callback>>;
}

const sources = new WeakMap<object, Source>();

export function setSource(object: object, source: Source): void {
  sources.set(object, source);
}

/** @throws E_ARGUMENT for what is none */
export function sourceOf(object: object): Source {
  const source = sources.get(object);
  if (source) return source;
  throw new EspalierError(
    'E_ARGUMENT',
    `The examples are ${shown(object)}.`,
    'Give a ShotPool, a Chain or Chains of espalier; Show of espalier/show takes its own.',
  );
}
