import { parametersIn } from '../../device/auto.ts';
import type { Work } from '../../device/crossover.ts';
import { chosenDevice, nameOf } from '../../device/open-device.ts';
import { limitOn } from '../../device/options.ts';
import { jobLanes } from '../../runtime/host/lane-count.ts';
import { HELD_AT_ONCE } from '../data-steps.ts';
import type { DecoderTrainable } from '../decoder-trainable.ts';
import { load } from '../load.ts';
import type { PlanTrainOptions } from '../options.ts';
import type { Prepared } from '../prepare.ts';
import { type MemoryPlan, planMemory } from './memory.ts';

/** Fewest rows that are worth advice. */
const LEAST = 16;

/** What may be given up for memory. */
interface Change {
  /** Of a batch. */
  readonly rows: number;
  readonly recompute: boolean;
  /** What longer sequences are cut to. */
  readonly maxTokens: number;
}

/** What decides where a training is computed. */
export function trainWork({ checkpoint }: Pick<Prepared, 'checkpoint'>): Work {
  return { task: 'training', parameters: parametersIn(checkpoint.tensors.values()) };
}

/** Memory of a training, and what would be trained: its weights are nowhere. */
export async function roomOf(
  job: Prepared,
  options: PlanTrainOptions,
  change: Change = job.plan,
): Promise<{ readonly plan: MemoryPlan; readonly trainable: DecoderTrainable }> {
  const { plan, steps, facts, checkpoint, heldOutTokens } = job;
  const longest = Math.min(job.longest, change.maxTokens);
  const held = heldOutTokens && {
    rows: Math.min(change.rows, heldOutTokens.total, HELD_AT_ONCE * heldOutTokens.longest),
    maxTokens: Math.min(heldOutTokens.longest, change.maxTokens),
  };
  return planMemory(async (device) => (await load(job, device, { hashed: false })).trainable, {
    config: checkpoint.config,
    rows: Math.min(change.rows, plan.batch * longest),
    maxTokens: longest,
    evaluated: held,
    steps,
    freeze: plan.freeze,
    recompute: change.recompute,
    divergence: job.reference !== null && (plan.divergence > 0 || facts.heldOut > 0),
    lanes: await jobLanes(options.lanes),
    limit: limitOn(nameOf(await chosenDevice(options.device, trainWork(job))), options.memoryLimit),
  });
}

/**
 * What would make a training fit, tried on the device that counts.
 * @param memory of the training as it is
 * @returns null where it fits
 */
export async function adviceOf(
  job: Prepared,
  options: PlanTrainOptions,
  { total, limit }: MemoryPlan,
): Promise<string | null> {
  if (limit === null || total <= limit) return null;
  const { plan, heldOutTokens } = job;
  const fits = async (change: Change): Promise<boolean> => {
    const { total, limit } = (await roomOf(job, options, change)).plan;
    return limit === null || total <= limit;
  };
  if (!plan.recompute && (await fits({ ...plan, recompute: true }))) return 'Give `recompute: true`.';
  const longest = Math.max(job.longest, heldOutTokens?.longest ?? 0);
  const most = Math.min(plan.rows, Math.max(plan.batch * job.longest, heldOutTokens?.total ?? 0));
  for (const rows of fewerRows(most, longest)) {
    const isCut = rows < longest;
    const maxTokens = Math.min(plan.maxTokens, rows);
    if (!(await fits({ rows, maxTokens, recompute: true }))) continue;
    const changes = [
      `\`rows: ${rows}\``,
      // where it is not given it follows
      ...(options.maxTokens !== undefined && options.maxTokens > rows ? [`\`maxTokens: ${rows}\``] : []),
      ...(isCut && plan.long !== 'truncate' ? ['`long: truncate`'] : []),
      ...(plan.recompute ? [] : ['`recompute: true`']),
    ];
    return `Give ${changes.join(' and ')}${isCut ? ': longer examples are cut then' : ''}.`;
  }
  return plan.lora === null
    ? 'Use LoRA, or `freeze` a part of the model for good.'
    : 'Use a lower rank, or a smaller or more strongly quantised model.';
}

/** Below what there are now, halved again and again, with the length of the longest sequence among them. */
function fewerRows(most: number, longest: number): number[] {
  const list: number[] = [];
  for (let rows = 2 ** Math.ceil(Math.log2(most) - 1); rows >= LEAST; rows /= 2) {
    if (rows < longest && (list.at(-1) ?? most) > longest) list.push(longest);
    list.push(rows);
  }
  return list;
}
