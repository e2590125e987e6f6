/** TOFU's files as runs take them, or a little of each. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TofuSet } from '../../src/evaluate/unlearning/tofu-data.ts';
import { readTofuFolder } from '../../src/evaluate/unlearning/tofu-folder.ts';
import type { Sets } from '../unlearn-work.ts';
import type { Split } from './runs.ts';
import { retainOf, type Setting } from './setting.ts';

/** Questions of a set where only a few are taken. */
const FEW = { forget: 6, retain: 12 } as const;
/** Most questions that a look measures. */
const LOOKED_AT = 200;

/** Lines of a file of TOFU: JSON, a question each. */
export async function linesOf({ data, quick }: Setting, name: string): Promise<string[]> {
  const lines = (await readFile(join(data, `${name}.json`), 'utf8'))
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
  return quick ? lines.slice(0, name.startsWith('forget') ? FEW.forget : FEW.retain) : lines;
}

export const bytesOf = (lines: readonly string[]): Uint8Array => new TextEncoder().encode(`${lines.join('\n')}\n`);

export async function setsOf(setting: Setting, split: Split): Promise<Sets> {
  const [forget, retain] = [await linesOf(setting, split), await linesOf(setting, retainOf(split))];
  return { forget: bytesOf(forget), retain: bytesOf(retain) };
}

/** What is measured: of the split with wrong answers, and the three sets of utility, that of what is kept first. */
export interface Measuring {
  readonly forgotten: TofuSet;
  readonly retain: TofuSet;
  readonly others: readonly TofuSet[];
}

export async function measuringOf({ data, quick }: Setting, split: Split): Promise<Measuring> {
  const { sets, forgotten } = await readTofuFolder(data, { split, compared: true });
  const cut = (set: TofuSet): TofuSet => (quick ? firstOf(set, FEW.forget) : set);
  const retain = sets.find(({ name }) => name === 'retain_perturbed')!;
  const others = sets.filter((set) => set !== forgotten && set !== retain);
  return { forgotten: cut(forgotten!), retain: cut(retain), others: others.map(cut) };
}

export const firstOf = (set: TofuSet, count: number): TofuSet => ({ ...set, rows: set.rows.slice(0, count) });

/** Without wrong answers: its probability alone. */
export const plain = (set: TofuSet): TofuSet => ({
  ...set,
  perturbed: false,
  rows: set.rows.map((row) => ({ ...row, perturbed: null })),
});

/** Every k-th, so that there are no more than a look measures. */
export function everyOf<T>(list: readonly T[]): T[] {
  const step = Math.ceil(list.length / LOOKED_AT);
  return list.filter((_, i) => i % step === 0);
}
