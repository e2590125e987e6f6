import { EspalierError } from '../../errors.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import type { SavedState, StepsDone } from './description.ts';

/** Kept free beside states and result, in bytes. */
const MARGIN = 16 << 20;

/** What a job will write, in bytes. */
export interface Needed {
  /** Weights and moments. */
  readonly stateBytes: number;
  /** The best weights, which are kept even where states are not; 0: none are. */
  readonly bestBytes: number;
  readonly resultBytes: number;
  /** 0: no states are kept. */
  readonly saveEvery: number;
  /** What is gone on from, and ends when the next one stands. */
  readonly saved: Pick<SavedState<StepsDone>, 'tensors' | 'best'> | null;
}

/**
 * Whether there is room for all that `States` writes and for the result, before work begins: a state goes only when the next one stands, and
 * best weights only when a state names better ones.
 * @throws E_STORAGE_FULL where the host says that two states, or one and the result, do not fit
 */
export async function checkSpace(out: OutputFolder, needed: Needed): Promise<void> {
  const free = await out.free();
  if (free === null) return;
  const { stateBytes, bestBytes, resultBytes, saveEvery, saved } = needed;
  const kept = (saveEvery > 0 ? stateBytes : 0) + bestBytes;
  const there = (saved?.tensors.bytes ?? 0) + (saved?.best?.bytes ?? 0);
  const bytes = Math.max(2 * kept, kept + resultBytes) - Math.min(there, kept) + MARGIN;
  if (bytes <= free) return;
  throw new EspalierError(
    'E_STORAGE_FULL',
    `${out.name} needs ${bytes} bytes of space for states and the result, and ${free} are free.`,
    `Free space and start again,${saveEvery > 0 ? ' keep no states (`saveEvery: 0`),' : ''} or choose another folder.`,
  );
}
