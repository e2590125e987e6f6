/** SmolLM2 learns 20 people of TOFU by heart, and is made to forget two of them. */
import { join } from 'node:path';
import { trainableFolder } from '../../examples/pretrain/unpack.ts';
import { prune } from '../../src/prune/job/job.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { FORM } from '../unlearn-work.ts';
import { bytesOf, linesOf } from './data.ts';
import { learnByHeart } from './references.ts';
import type { Found } from './results.ts';
import { type Setting, smolOf } from './setting.ts';

/** Of each side, where only a few examples are taken. */
const FEW = 2;

/** The people of forget10, the last two of whom are those of forget01. */
export async function smollm2(setting: Setting, seed: number): Promise<Found['smollm2']> {
  const { work, device, lanes, quick } = setting;
  const model = join(work, 'smollm2-knows');
  const base = await trainableFolder(smolOf(setting), join(work, 'smollm2'), 'bf16');
  const few = (lines: readonly string[]) => (quick ? lines.slice(0, FEW) : lines);
  const [all, last] = [await linesOf(setting, 'forget10'), await linesOf(setting, 'forget01')];
  const [forget, retain] = [few(last), few(all.filter((line) => !last.includes(line)))];
  const data = [...retain, ...forget];
  const began = performance.now();
  const { steps, probability } = await learnByHeart(setting, base, model, {
    ...{ data, epochs: 10, learningRate: quick ? 3e-4 : 1e-4, known: 0.9, few: 12 },
  });
  const learned = { steps, probability, seconds: (performance.now() - began) / 1000 };
  const out = memoryOutput('forgets');
  const pruning = performance.now();
  const { before, after, chosen, parameters } = await prune(model, {
    ...FORM,
    ...{ forget: bytesOf(forget), retain: bytesOf(retain), base, seed, out, device, lanes, saveEvery: 0 },
    ...(quick && { epochs: 1, structureSteps: 1, gateSteps: 5, measured: 4, looks: 1 }),
  });
  const seconds = (performance.now() - pruning) / 1000;
  return { learned, before, after, epoch: chosen.epoch, parameters, seconds };
}
