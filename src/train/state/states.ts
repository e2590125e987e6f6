import { allFinite } from '../../checkpoint/finite.ts';
import { EspalierError } from '../../errors.ts';
import type { Rule } from '../../options/rules.ts';
import { isState, type OutputFolder, STATE } from '../../runtime/output/output.ts';
import type { AdamW } from '../optimiser.ts';
import type { Trainable } from '../trainable.ts';
import { diverged } from '../trainer.ts';
import {
  describe,
  FORMAT,
  type Identity,
  readDescription,
  type SavedState,
  type StepsDone,
  VERSION,
} from './description.ts';
import { damaged, type NamedTensor, readTensors, sizeOfTensors, type WrittenFile, writeTensors } from './tensors.ts';

/** Kept free beside a state, in bytes. */
const MARGIN = 1 << 20;

/** Moments that are kept and restored: those of one optimiser, or of several. */
export type MomentsBook = Pick<AdamW, 'moments' | 'momentsOf'>;

/**
 * States of a training in the folder that its result goes to. One is a file of tensors, synced, and then a description, synced: a
 * description that can be read has its tensors, whatever ended the program. The state before goes only then.
 */
export class States<P extends StepsDone> {
  readonly #out: OutputFolder;
  readonly #identity: Identity;
  readonly #device: unknown;
  #best: WrittenFile | null = null;
  /** Of the best weights that the state that stands goes back to; null: there are none. */
  #named: string | null = null;
  /** Of the state that stands; 0: none does. */
  #step = 0;

  constructor(out: OutputFolder, identity: Identity, device: unknown) {
    this.#out = out;
    this.#identity = identity;
    this.#device = device;
  }

  /**
   * The newest state in a folder, of whatever training; null: there is none.
   * @param progress what it has to say of the job: `trainingProgress`
   * @throws E_FILE_READ, also for one that is not what was written; E_ARGUMENT for one of another version of this program
   */
  static async latest<P extends StepsDone>(out: OutputFolder, progress: Rule<P>): Promise<SavedState<P> | null> {
    const { names } = await out.files();
    const descriptions = names.filter((name) => STATE.exec(name)?.[2] === 'json').sort((a, b) => stepOf(b) - stepOf(a));
    for (const name of descriptions) {
      const state = await readDescription(await out.readBytes(name), name, progress);
      if (state === null) continue;
      if (state.progress.step !== stepOf(name)) throw damaged(name);
      if ((await out.size(state.tensors.name)) === state.tensors.bytes) return state;
    }
    return null;
  }

  /** Puts a state's weights and moments where they belong. @throws E_FILE_READ, E_OUT_OF_MEMORY */
  async restore(state: SavedState<P>, trainable: Trainable, optimiser: MomentsBook): Promise<void> {
    for (const parameter of trainable.parameters) {
      const updates = state.updates[parameter.name];
      if (updates !== undefined) optimiser.momentsOf(parameter).updates = updates;
    }
    await readTensors(await this.#out.files(), state.tensors, trainable.device, allOf(trainable, optimiser));
    trainable.repack();
    this.#best = state.best;
    this.#named = state.best?.name ?? null;
    this.#step = state.progress.step;
  }

  /** @throws E_STORAGE_FULL, E_FILE_WRITE, and then the state before is still there; E_DIVERGED for weights that are no numbers */
  async save(trainable: Trainable, optimiser: MomentsBook, progress: P): Promise<void> {
    const list = allOf(trainable, optimiser);
    const name = nameOf(progress.step, 'safetensors');
    const tensors = await this.#write(name, trainable, list);
    const state: SavedState<P> = {
      format: FORMAT,
      version: VERSION,
      identity: this.#identity,
      progress,
      device: this.#device,
      updates: Object.fromEntries([...optimiser.moments].map(([parameter, { updates }]) => [parameter, updates])),
      tensors,
      best: this.#best,
    };
    await this.#describe(nameOf(progress.step, 'json'), state);
    this.#step = progress.step;
    this.#named = this.#best?.name ?? null;
    await clearStates(this.#out, [name, nameOf(progress.step, 'json'), ...(this.#best ? [this.#best.name] : [])]);
  }

  /** Keeps the weights alone, to come back to. What was best before stays as long as a state names it. */
  async saveBest(trainable: Trainable, { step }: StepsDone): Promise<void> {
    const before = this.#best?.name;
    this.#best = await this.#write(nameOf(step, 'safetensors', 'best-'), trainable, weightsOf(trainable));
    const stays = before === undefined || before === this.#named || before === this.#best.name;
    if (!stays) await this.#out.remove(before);
  }

  /** Puts the best weights back. */
  async restoreBest(trainable: Trainable): Promise<void> {
    if (this.#best === null) return;
    await readTensors(await this.#out.files(), this.#best, trainable.device, weightsOf(trainable));
    trainable.repack();
  }

  async #write(name: string, trainable: Trainable, list: readonly NamedTensor[]): Promise<WrittenFile> {
    await this.#checkSpace(sizeOfTensors(list), name);
    try {
      return await writeTensors(this.#out, name, trainable.device, list, (values, own) => {
        if (!allFinite(values)) throw diverged(`Training diverged: ${own} has NaN or infinity in it.`, this.#step);
      });
    } catch (error) {
      // half a file is of no use to anyone
      await this.#out.remove(name).catch(() => {});
      throw error;
    }
  }

  async #describe(name: string, state: SavedState<P>): Promise<void> {
    const file = await this.#out.file(name, 0);
    try {
      await file.write(await describe(state));
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #checkSpace(bytes: number, name: string): Promise<void> {
    const free = await this.#out.free();
    if (free === null || bytes + MARGIN <= free) return;
    throw new EspalierError(
      'E_STORAGE_FULL',
      `${name} of ${this.#out.name} needs ${bytes} bytes of space, and ${free} are free.`,
      'Free space and start again: the state before is kept.',
    );
  }
}

/** Removes all states but these files. @throws E_FILE_WRITE */
export async function clearStates(out: OutputFolder, keep: readonly string[] = []): Promise<void> {
  const { names } = await out.files();
  const old = names.filter((name) => isState(name) && !keep.includes(name));
  // descriptions first: one must not outlive its tensors
  old.sort((a, b) => Number(a.endsWith('.safetensors')) - Number(b.endsWith('.safetensors')));
  for (const name of old) await out.remove(name);
}

/**
 * Whether a state is one of the training that is asked for, as far as that is known.
 * @param folder for the message
 * @throws E_ARGUMENT that says what differs
 */
export function checkIdentity<P extends StepsDone>(
  { identity, progress }: SavedState<P>,
  wanted: Partial<Identity>,
  folder: string,
): void {
  const parts = Object.keys(wanted) as (keyof Identity)[];
  const other = parts.filter((part) => JSON.stringify(identity[part]) !== JSON.stringify(wanted[part]));
  if (other.length === 0) return;
  const names: Readonly<Record<keyof Identity, string>> = {
    options: 'other options',
    model: 'another model',
    data: 'other data',
  };
  throw new EspalierError(
    'E_ARGUMENT',
    `${folder} is half trained with ${other.map((part) => names[part]).join(' and ')}: ${progress.step} steps are done.`,
    'Go on with the same, pass `restart: true` to throw that work away, or choose another folder.',
  );
}

function stepOf(name: string): number {
  return Number(STATE.exec(name)![1]);
}

function nameOf(step: number, end: 'json' | 'safetensors', kind = ''): string {
  return `espalier-training-${kind}${String(step).padStart(6, '0')}.${end}`;
}

const weightsOf = ({ parameters }: Trainable): NamedTensor[] =>
  parameters.map(({ name, value }) => ({ name, tensor: value }));

/** Weights, and moments of what was trained: in an order that depends on neither. */
function allOf(trainable: Trainable, optimiser: MomentsBook): NamedTensor[] {
  const moments = trainable.parameters.flatMap(({ name }) => {
    const own = optimiser.moments.get(name);
    if (own === undefined) return [];
    return [
      { name: `m/${name}`, tensor: own.m },
      { name: `v/${name}`, tensor: own.v },
    ];
  });
  return [...weightsOf(trainable).map(({ name, tensor }) => ({ name: `value/${name}`, tensor })), ...moments];
}
