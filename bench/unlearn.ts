/**
 * Unlearning on TOFU by one method, ours or another: at the beginning and at each look it is written, opened as anyone would, and measured. One JSON
 * object a line, so that runs of several methods and seeds make one table.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainDevice } from '../src/device/train-device.ts';
import type { TofuMeasures } from '../src/evaluate/unlearning/tofu.ts';
import type { TofuSet } from '../src/evaluate/unlearning/tofu-data.ts';
import { readTofuFolder } from '../src/evaluate/unlearning/tofu-folder.ts';
import { tofuForgetQuality } from '../src/evaluate/unlearning/tofu-log.ts';
import { defined } from '../src/options/defined.ts';
import type { Candidate } from '../src/prune/choice/choice.ts';
import { FORGET_MASKS, FORGET_OBJECTIVES } from '../src/prune/edit/batches.ts';
import { UNLEARNING_METHODS, type UnlearningMethod } from '../src/prune/edit/unlearn-options.ts';
import { type Context, numbers, type Suite } from './suite.ts';
import { openAlter } from './unlearn-alter.ts';
import { DEVICES, deviceFor, measured, utilityOf } from './unlearn-measure.ts';
import { openRival, type Unlearner } from './unlearn-work.ts';

const METHODS = ['alter', ...UNLEARNING_METHODS] as const;

function text({ flags }: Context, name: string, fallback?: string): string {
  const value = flags[name] ?? fallback;
  if (typeof value !== 'string') throw new Error(`--${name} is missing.`);
  return value;
}

/** A number from 0 on, if it is given. */
function real({ flags }: Context, name: string): number | undefined {
  const value = flags[name];
  if (value === undefined) return undefined;
  const found = Number(value);
  if (value === true || !(found >= 0)) throw new Error(`--${name} takes a number.`);
  return found;
}

/** One of some names, if it is given. */
function choice<T extends string>({ flags }: Context, name: string, names: readonly T[]): T | undefined {
  const value = flags[name];
  if (value === undefined) return undefined;
  const found = names.find((one) => one === value);
  if (found === undefined) throw new Error(`--${name} takes ${names.join(', ')}.`);
  return found;
}

async function openMethod(context: Context, method: (typeof METHODS)[number], device: TrainDevice): Promise<Unlearner> {
  const folder = text(context, 'data');
  const split = text(context, 'split', 'forget10');
  const retain = `retain${String(100 - Number(split.replace('forget', ''))).padStart(2, '0')}`;
  const sets = { forget: join(folder, `${split}.json`), retain: join(folder, `${retain}.json`) };
  const model = text(context, 'model');
  const whole = (name: string) => (name in context.flags ? numbers(context, name, [])[0] : undefined);
  const common = defined({
    batch: whole('batch'),
    epochs: whole('epochs'),
    looks: whole('looks'),
    rate: real(context, 'rate'),
    forgetting: real(context, 'forgetting'),
    retention: real(context, 'retention'),
    seed: real(context, 'seed'),
  });
  const rank = real(context, 'rank');
  if (method === 'alter') {
    const { batch, ...phases } = common;
    const own = defined({
      structureSteps: real(context, 'structure'),
      gateSteps: whole('gate'),
      measured: whole('measured'),
      objective: choice(context, 'objective', FORGET_OBJECTIVES),
      mask: choice(context, 'mask', FORGET_MASKS),
      strengths:
        context.flags['strengths'] === undefined ? undefined : text(context, 'strengths').split(',').map(Number),
    });
    const beside = { base: text(context, 'base'), reference: text(context, 'reference') };
    return openAlter(model, sets, { ...defined({ batch, rank }), ...phases, ...own, ...beside, device });
  }
  const lines =
    method === 'idk-dpo' ? await readFile(text(context, 'idk', join(folder, 'idontknow.jsonl')), 'utf8') : '';
  const idk = lines.split(/\r?\n/).filter((line) => line.trim() !== '');
  const own = defined({
    layer: real(context, 'layer'),
    coefficient: real(context, 'coefficient'),
    beta: real(context, 'beta'),
  });
  return openRival(model, sets, { method, ...common, ...own, rank: rank ?? (method === 'hinge' ? 8 : 0), device, idk });
}

const suite: Suite = {
  about:
    'unlearning on TOFU  (--method alter,npo,… --data DIR --model M --reference M --base M --device wasm --seed 0 --rank 0 --rate R --most N --near P --rouge)',
  async run(context) {
    const method = text(context, 'method') as 'alter' | UnlearningMethod;
    if (!METHODS.includes(method)) throw new Error(`--method takes one of ${METHODS.join(', ')}.`);
    const [lanes = 2] = numbers(context, 'lanes', [2]);
    const [most = Number.POSITIVE_INFINITY] = 'most' in context.flags ? numbers(context, 'most', []) : [];
    const [limit = Number.POSITIVE_INFINITY] = 'limit' in context.flags ? numbers(context, 'limit', []) : [];
    const near = real(context, 'near') ?? 1;
    const rouge = context.flags['rouge'] === true;
    const split = text(context, 'split', 'forget10');
    const read = await readTofuFolder(text(context, 'data'), { split, compared: true });
    const cut = (set: TofuSet): TofuSet => ({ ...set, rows: set.rows.slice(0, limit) });
    const [sets, forgotten] = [read.sets.map(cut), cut(read.forgotten!)];
    const about = text(context, 'reference');
    const device = await deviceFor(text(context, 'model'), {
      device: choice(context, 'device', DEVICES) ?? 'auto',
      lanes,
    });
    const lines: object[] = [];
    let unlearner: Unlearner | null = null;
    let [looks, seconds, clock, prepared] = [0, 0, 0, 0];
    const look = async (epoch: number, answer: number | null, candidate: Candidate | null): Promise<void> => {
      const found = await measured(device, await unlearner!.snapshot(candidate?.strength), sets, { rouge });
      const own = found[forgotten.name]!;
      const { p, log10p } = tofuForgetQuality(forgotten, own, reference, about);
      const line = {
        method,
        seed: real(context, 'seed') ?? 0,
        epoch,
        answer,
        forget: own.probability,
        truthRatio: own.truthRatioScore,
        forgetQuality: p,
        log10: log10p,
        retain: found['retain_perturbed']?.probability ?? null,
        utility: utilityOf(found, rouge),
        seconds,
        prepared,
        trained: unlearner!.trained,
        ...(candidate && { look: candidate.look, strength: candidate.strength, distance: candidate.distance }),
      };
      lines.push(line);
      context.print(JSON.stringify(line));
    };
    let reference: TofuMeasures | undefined;
    try {
      const snapshot = { target: about, adapters: [] };
      ({ [forgotten.name]: reference } = await measured(device, snapshot, [forgotten], { rouge: false }));
      clock = performance.now();
      unlearner = await openMethod(context, method, device);
      prepared = (performance.now() - clock) / 1000;
      await look(0, null, null);
      clock = performance.now();
      const chosen = await unlearner.run(async ({ epoch, answer, candidates }) => {
        seconds += (performance.now() - clock) / 1000;
        if (answer === null || answer <= near) {
          for (const candidate of candidates ?? [null]) await look(epoch, answer, candidate);
          looks++;
        }
        clock = performance.now();
        return looks > most ? 'end' : undefined;
      });
      if (chosen) context.print(JSON.stringify({ method, seed: real(context, 'seed') ?? 0, chosen }));
    } finally {
      await unlearner?.dispose();
      device.close();
    }
    return lines;
  },
};
export default suite;
