import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { like, type Schema } from '../../options/rules.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { checkedTarget } from '../../runtime/files/target.ts';
import type { Shot } from '../../show/types.ts';
import { Engine } from '../engine.ts';
import { type EngineOpenOptions, type EngineOptions, engineOpenOptions, engineOptions } from '../options.ts';
import { type OpenShowOptions, showOn } from '../show/opened.ts';
import type { Show } from '../show/show.ts';
import { Model } from './model.ts';

/** With `engine`, the model joins it; without, it has one of its own, made with the other options. */
export interface OpenOptions extends EngineOpenOptions, EngineOptions {
  /** Default: one of its own, which is closed with the model. */
  readonly engine?: Engine;
}

export const openOptions = {
  ...engineOpenOptions,
  ...engineOptions,
  engine: like<Engine>(
    'an Engine, such as Engine.create() makes',
    (value) => typeof (value as Engine).open === 'function' && typeof (value as Engine).stats === 'function',
  ),
} as const satisfies Schema<OpenOptions>;

/** A model that is being opened: await it, or what it is for. */
export interface Opening extends Promise<Model> {
  /**
   * Examples in one call: a pool of these shots over the model, and a `Show` that answers by them. It is closed as one, by `close()` of the `Show`. Called
   * at once it opens the model with `show: true`.
   * @throws as `open`, `ShotPool.build` and `Show.create`; nothing stays open then
   */
  show(shots: readonly Shot[], options: OpenShowOptions): Promise<Show>;
}

/**
 * Opens a model (see `Engine.open`) on an engine of its own, which is closed with it, or on the one given.
 * @throws as `Engine.create` and `Engine.open`; nothing stays allocated then
 */
export function open(target: ModelTarget, options: OpenOptions = {}): Opening {
  let isShown = false;
  const model = opened(target, options, () => isShown);
  const show: Opening['show'] = async (shots, given) => {
    isShown = true;
    return showOn(await model, shots, given);
  };
  return Object.assign(model, { show });
}

async function opened(target: ModelTarget, options: OpenOptions, isShown: () => boolean): Promise<Model> {
  const { engine, ...all } = checked<OpenOptions>(openOptions, options, 'open');
  const { device, lanes, relaxed, memoryLimit, show, wasmLocation, workerLocation, laneLocation, ...rest } = all;
  checkedTarget(target);
  // what is called on the promise decides which worker starts
  await null;
  const shows = isShown() && !engine ? true : show;
  const own = { device, lanes, relaxed, memoryLimit, show: shows, wasmLocation, workerLocation, laneLocation };
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)) as EngineOptions;
  if (engine) {
    const [name] = Object.keys(given);
    if (name === undefined) return engine.open(target, rest);
    throw new EspalierError(
      'E_ARGUMENT',
      `${name} is given together with an engine.`,
      'Give it to Engine.create instead.',
    );
  }
  const { signal } = rest;
  const made = await Engine.create({ ...given, ...(signal && { signal }) });
  try {
    return Model.owning(made, await made.open(target, rest));
  } catch (error) {
    await made.close();
    throw error;
  }
}
