import { chosenDevice, nameOf } from '../../device/open-device.ts';
import { limitOn } from '../../device/options.ts';
import { checked } from '../../options/check.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { jobLanes } from '../../runtime/host/lane-count.ts';
import { outputOf } from '../../runtime/output/options.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import { trainWork } from '../../train/plan/room.ts';
import { domainsOfColumn } from '../domains/embed-examples.ts';
import { MOST_DOMAINS } from '../domains/sub-domains.ts';
import { batchCount, structureCount } from '../edit/draws.ts';
import { type PlanPruneOptions, planPruneOptions } from '../options.ts';
import { type PruneMemory, type PruneMemoryOptions, planPruneMemory, pruneAdvice, tokensOf } from './memory.ts';
import type { PrunePlan } from './plan.ts';
import { type PreparedPrune, preparePrune } from './prepare.ts';

/** What a pruning will do and take, before any weight is loaded. */
export interface PlannedPruning {
  readonly options: PrunePlan;
  /** Of each side, examples and the tokens that go through a model. */
  readonly data: {
    readonly forget: { readonly examples: number; readonly tokens: number };
    readonly retain: { readonly examples: number; readonly tokens: number };
  };
  /** Sub-domains; where they are still to be found the most that there can be. */
  readonly domains: number;
  /** At most: it ends earlier where nothing better can come. Of Phase II each is a step that forgets and one that retains. `structure` are those that A learns from, in Phase I or, with the schedule `interleaved`, beside them. */
  readonly steps: { readonly structure: number; readonly editing: number; readonly gate: number };
  /** At most: none while answers are as probable as before. */
  readonly looks: number;
  /** That go through the model in both phases, without looks, about. */
  readonly tokens: number;
  /** Of the adapter, its gate left out. */
  readonly parameters: number;
  readonly memory: PruneMemory;
  /** What to do where it takes too much; null: it fits. */
  readonly advice: string | null;
  /** Of a state that is kept and of the best so far beside it, and of the result: bytes. */
  readonly stateBytes: number;
  readonly resultBytes: number;
  /** Bytes free at the destination, where the host says. */
  readonly freeBytes: number | null;
}

/**
 * Steps, parameters and memory of a pruning, from its data and the headers of its models.
 * @throws as `prune` for what can be found before work begins, but for a want of memory, which it tells
 */
export async function planPrune(source: ModelTarget, given: PlanPruneOptions = {}): Promise<PlannedPruning> {
  const options = checked<PlanPruneOptions>(planPruneOptions, given, 'planPrune');
  const job = await preparePrune(source, options);
  let out: OutputFolder | null = null;
  try {
    out = options.out === undefined ? null : await outputOf(options.out);
    const { domains, batches } = await domainsOf(job);
    const own = await memoryOptionsOf(job, options);
    const { memory, parameters, resultBytes } = await planPruneMemory(job, own);
    return {
      options: job.plan,
      data: { forget: sideFacts(job, 'forget'), retain: sideFacts(job, 'retain') },
      domains,
      ...workOf(job, batches),
      ...{ parameters, memory, resultBytes },
      advice: await pruneAdvice(job, memory, own),
      stateBytes: Object.values(keptBytes(parameters)).reduce((sum, bytes) => sum + bytes, 0),
      freeBytes: (await out?.free()) ?? null,
    };
  } finally {
    // an output of the caller’s own stays his
    if (out !== options.out) await out?.release();
    await job.close();
  }
}

/** What a job keeps on its way, in bytes: factors with both of their moments, and the factors of the best look. */
export function keptBytes(parameters: number): { readonly stateBytes: number; readonly bestBytes: number } {
  return { stateBytes: 4 * (parameters + 2 * parameters), bestBytes: 4 * parameters };
}

/** With what the memory of a job is planned. @throws E_DATA_INVALID, E_ARGUMENT */
export async function memoryOptionsOf(
  job: PreparedPrune,
  { device, lanes, memoryLimit, signal }: Pick<PlanPruneOptions, 'device' | 'lanes' | 'memoryLimit' | 'signal'>,
): Promise<PruneMemoryOptions> {
  const limit = limitOn(nameOf(await chosenDevice(device, trainWork(job))), memoryLimit);
  return { domains: (await domainsOf(job)).domains, lanes: await jobLanes(lanes), limit, signal };
}

/** Sub-domains, and batches of an epoch; where either is not known yet, the most. */
async function domainsOf({ plan, data, forget }: PreparedPrune): Promise<{ domains: number; batches: number }> {
  const { domains, batch } = plan;
  const all = forget.sequences.length;
  if (typeof domains === 'object') {
    const found = await domainsOfColumn(data.forget, domains.column);
    const place = new Map(Array.from(data.forget.train, (example, i) => [example, found.assignments[i]!]));
    const counts = new Array<number>(found.count).fill(0);
    for (const example of forget.examples) counts[place.get(example)!]!++;
    return { domains: found.count, batches: batchCount(counts, batch) };
  }
  const most = Math.min(all, domains === 'auto' ? MOST_DOMAINS : domains);
  // each domain may have a batch that is not full
  return { domains: most, batches: Math.min(all, Math.ceil(all / batch) + most - 1) };
}

/** Examples of a side, and the tokens that go through a model. */
export function sideFacts({ data, ...job }: PreparedPrune, side: 'forget' | 'retain') {
  return { examples: data[side].train.length, tokens: tokensOf(job[side].sequences) };
}

function workOf(job: PreparedPrune, batches: number): Pick<PlannedPruning, 'steps' | 'looks' | 'tokens'> {
  const { plan } = job;
  const [forget, retain] = [sideFacts(job, 'forget').tokens, sideFacts(job, 'retain').tokens];
  const sequences = { forget: job.forget.sequences.length, retain: job.retain.sequences.length };
  const structure = structureCount(plan, batches);
  const { epochs, batch, retains, gateSteps, gateRounds, gateTokens, looks } = plan;
  const each = { retain: retain / sequences.retain, all: (forget + retain) / (sequences.forget + sequences.retain) };
  const editing = epochs * batches;
  return {
    steps: { structure, editing, gate: gateSteps * (1 + (retain > gateTokens ? gateRounds : 0)) },
    looks: Math.ceil(epochs * Math.min(looks, batches)),
    tokens: Math.round(structure * batch * each.all + epochs * forget + (retains ? editing * batch * each.retain : 0)),
  };
}
