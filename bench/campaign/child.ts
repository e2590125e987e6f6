/** One run, in a process of its own: what is to be done comes as its argument, and what was found goes to its parent. */
import { type Before, looks, sweep, unlearn } from './methods.ts';
import { measureBefore, trainReference } from './references.ts';
import type { Found } from './results.ts';
import { GIVEN, type Run } from './runs.ts';
import { sequence } from './sequence.ts';
import type { Setting } from './setting.ts';
import { smollm2 } from './smollm2.ts';

/** What is done, and what it needs of earlier runs. */
export interface Task {
  readonly run: Run;
  readonly setting: Setting;
  readonly before: Before;
  /** Of a rival. */
  readonly rate: number | null;
}

export interface Told {
  readonly found?: Found[Run['kind']];
  readonly error?: string;
}

function done({ run, setting, before, rate }: Task): Promise<Found[Run['kind']]> {
  switch (run.kind) {
    case 'reference':
      return trainReference(setting, run.split);
    case 'before':
      return measureBefore(setting, run.split);
    case 'sweep':
      return sweep(setting, run, GIVEN, before);
    case 'unlearn':
      return unlearn(setting, run, before, rate);
    case 'looks':
      return looks(setting, run, before);
    case 'sequence':
      return sequence(setting, run.seed);
    case 'smollm2':
      return smollm2(setting, run.seed);
    default:
      return run satisfies never;
  }
}

// the result was taken, or who started it is gone, and nobody would keep it
process.on('disconnect', () => process.exit());
const told: Told = await done(JSON.parse(process.argv[2]!) as Task).then(
  (found) => ({ found }),
  (error: unknown) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
);
process.send!(told);
