import type { ModelConfig } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import type { Shot, StorageType } from '../types.ts';
import { type StoredShot, shotBytes } from './stored.ts';

/** A shot with its tokens. */
export interface Entry {
  readonly shot: Shot;
  readonly ids: readonly number[];
  /** Tokens before its answer; of a shot without a label, or one whose label its text does not show, all. */
  readonly prompt: number;
}

/** What is cached as one: a shot, or a block of shots of which each sees those before it. */
export interface PoolUnit {
  /** Equal for equal tokens, of which equally many stand before the answers. */
  readonly key: string;
  readonly entries: readonly Entry[];
  /** Of all shots together. */
  readonly length: number;
}

/** What is placed as one: a stored shot, or a block of them, and the shots in it. */
export interface PooledUnit {
  readonly stored: StoredShot;
  readonly entries: readonly Entry[];
}

/**
 * Positions that placed shots, a query and its answer may take together. Shots that were cached alone have no place in a sliding window, so all of it must
 * fit one; a chain, which a model could have read as it stands, obeys the window and has all positions of the model.
 */
export function contextOf(model: LocalModel): number {
  const { maxPositions, slidingWindow } = model.config;
  return Math.min(maxPositions, slidingWindow ?? maxPositions);
}

/** The begin-of-text token, where the model has one, and the instruction. */
export function prefixIds(model: LocalModel, instruction: string | undefined): readonly number[] {
  return model.encode(instruction ?? '');
}

/** @throws E_CONTEXT_LENGTH for more tokens than there is room for */
export function checkRoom(what: string, tokens: number, room: number, hint = 'Shorten it.'): void {
  if (tokens <= room) return;
  const message = `${what} has ${tokens} tokens, and the model has room for ${Math.max(0, room)}.`;
  throw new EspalierError('E_CONTEXT_LENGTH', message, hint);
}

/** @throws E_ARGUMENT for a shot without an id or a token, E_CONTEXT_LENGTH for one that does not fit `context` behind the prefix */
export function entryOf(model: LocalModel, shot: Shot, prefixLength: number, context: number): Entry {
  const name = `The shot "${String(shot.id).slice(0, 60)}"`;
  if (typeof shot.id !== 'string' || shot.id === '' || typeof shot.text !== 'string') {
    throw new EspalierError('E_ARGUMENT', `${name} has no id or no text.`, 'Give both as strings.');
  }
  const ids = model.encode(shot.text, { addBos: false });
  if (ids.length === 0) throw new EspalierError('E_ARGUMENT', `${name} has no tokens.`, 'Give it a text.');
  const room = context - prefixLength - 1;
  checkRoom(name, ids.length, room, 'Shorten it or leave it out.');
  return { shot, ids, prompt: promptOf(model, shot, ids) };
}

/**
 * Tokens of the text before the place where it shows its label, as far as they stand by themselves as they do there: the first one behind its input,
 * or without one the last of all. Where it shows none behind its input, that is the prompt.
 */
function promptOf(model: LocalModel, { text, label, input }: Shot, ids: readonly number[]): number {
  if (label === undefined || label === '') return ids.length;
  // lengths may change with the case, so that both are looked for as they are first
  const lower = text.toLowerCase().length === text.length ? text.toLowerCase() : text;
  const from = input ? text.indexOf(input) : -1;
  const end = from < 0 ? -1 : from + input!.length;
  const find = (within: string, what: string) => (end < 0 ? within.lastIndexOf(what) : within.indexOf(what, end));
  const own = find(text, label);
  const shown = own >= 0 ? own : find(lower, label.toLowerCase());
  const before = text.slice(0, shown >= 0 ? shown : Math.max(0, end)).trimEnd();
  if (before === '') return ids.length;
  const prompt = model.encode(before, { addBos: false });
  let same = 0;
  while (same < prompt.length && prompt[same] === ids[same]) same++;
  return same === 0 ? ids.length : same;
}

/** Entries in units of so many, in their order. @throws E_CONTEXT_LENGTH for a block that does not fit `room` tokens */
function unitsOf(entries: readonly Entry[], size: number, room: number): PoolUnit[] {
  const units: PoolUnit[] = [];
  for (let first = 0; first < entries.length; first += size) {
    const some = entries.slice(first, first + size);
    const length = some.reduce((sum, { ids }) => sum + ids.length, 0);
    checkRoom(`A block of ${some.length} shots`, length, room, 'Make blocks smaller.');
    units.push({ key: some.map(({ ids, prompt }) => `${prompt}:${ids.join(',')}`).join('|'), entries: some, length });
  }
  return units;
}

/** All units of a pool, and the one of each shot. */
export interface Layout {
  readonly list: readonly PoolUnit[];
  readonly of: ReadonlyMap<string, PoolUnit>;
}

/** @throws E_CONTEXT_LENGTH for a block that does not fit `room` tokens */
export function layoutOf(entries: readonly Entry[], size: number, room: number): Layout {
  const list = unitsOf(entries, size, room);
  return { list, of: new Map(list.flatMap((unit) => unit.entries.map(({ shot }) => [shot.id, unit] as const))) };
}

/** Shots, tokens, and bytes of stored keys and values. */
export function sizeOf(units: readonly PoolUnit[], config: ModelConfig, storage: StorageType) {
  const sum = (of: (unit: PoolUnit) => number) => units.reduce((all, unit) => all + of(unit), 0);
  return {
    shots: sum(({ entries }) => entries.length),
    tokens: sum(({ length }) => length),
    bytes: sum(({ length }) => shotBytes(config, length, storage)),
  };
}
