/** The reconstruction of ALTER as a contender: the parts of `prune` themselves, with a look at each of its own looks. */
import { gateEntries } from '../src/checkpoint/adapter/gate-kinds.ts';
import type { TrainDevice } from '../src/device/train-device.ts';
import type { AsymmetricFactors } from '../src/prune/adapter/factors.ts';
import { edit } from '../src/prune/job/edit.ts';
import { jobFiles } from '../src/prune/job/files.ts';
import { measure } from '../src/prune/job/measure.ts';
import { preparePrune } from '../src/prune/job/prepare.ts';
import { gateStage } from '../src/prune/job/train-gate.ts';
import { withModel } from '../src/prune/measure/with-model.ts';
import type { PruneRecipe } from '../src/prune/options.ts';
import { memoryOutput } from '../src/runtime/output/memory.ts';
import { count, FORM, type Sets, type Unlearner } from './unlearn-work.ts';

/** @param recipe as of `prune`, with the device, which stays the caller's */
export async function openAlter(
  model: string,
  sets: Sets,
  { device, ...recipe }: Omit<PruneRecipe, 'device'> & { readonly device: TrainDevice },
): Promise<Unlearner> {
  const job = await preparePrune(model, { ...FORM, ...recipe, ...sets });
  const quiet = { onProgress: () => {} };
  const measured = await measure(job, device, quiet);
  const gate = await withModel(model, { device }, (frozen) =>
    gateStage(job, measured, frozen, device, job.plan.rule, quiet),
  );
  const gateSize = gateEntries(gate.values).reduce((sum, [, values]) => sum + values.length, 0);
  let now: AsymmetricFactors | null = null;
  return {
    get trained() {
      return (now ? count(now.factors) : 0) + gateSize;
    },
    run: async (onLook) => {
      const silent = () => {};
      const edited = await edit(job, measured, device, {
        ...{ out: memoryOutput('bench'), saved: null, identity: { options: {}, data: '' }, saveEvery: 0 },
        ...{ signal: undefined, onLoading: silent, onStep: silent, onLook: silent, onSaving: silent },
        onLooked: async (candidates, factors) => {
          now = factors;
          const { epoch, forget } = candidates[0]!;
          return onLook({ epoch, answer: forget, candidates });
        },
      });
      return edited.best;
    },
    snapshot: async (strength = 1) => {
      const factors = now;
      if (factors === null) return { target: model, adapters: [] };
      const matrices = await factors.matrices(device);
      const files = jobFiles(job, { matrices, scale: factors.scale, strength, names: ['forget'], gate: gate.values });
      return { target: model, adapters: [{ from: Object.fromEntries(files) }] };
    },
    dispose: () => job.close(),
  };
}
