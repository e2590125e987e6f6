/** Folders in memory that fail as real ones do: the disk fills, or the power goes. */

import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { type OutputFile, type OutputFolder, outputFailed } from '../../src/runtime/output/output.ts';
import { content, numbers } from './jobs.ts';

export interface FrailOutput extends OutputFolder {
  /** Bytes that it still takes before the disk is full; a write that does not fit is cut. */
  room: number;
  /** What `free` says. */
  says: number | null;
  /** Ends all writing. What was not synced is lost: it is not there, or zeros, or noise, or there by luck. */
  powerFailure(seed: number): Promise<void>;
}

export function frailOutput(name: string): FrailOutput {
  const memory = memoryOutput(name);
  /** Bytes of each file that outlive a power failure. */
  const durable = new Map<string, number>();
  let boots = 0;
  const wrap = (fileName: string, file: OutputFile, keep: number, boot: number): OutputFile => {
    const check = (): void => {
      if (boot !== boots) throw new Error('the machine is off');
    };
    durable.set(fileName, Math.min(durable.get(fileName) ?? 0, keep));
    return {
      get size() {
        return file.size;
      },
      write: async (bytes) => {
        // the others have their turn first, as with a disk
        await new Promise((resolve) => setTimeout(resolve));
        check();
        const taken = Math.min(frail.room, bytes.byteLength);
        frail.room -= taken;
        await file.write(bytes.subarray(0, taken));
        if (taken < bytes.byteLength) {
          throw outputFailed(fileName, Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
        }
      },
      sync: async () => {
        const { size } = file;
        await new Promise((resolve) => setTimeout(resolve));
        check();
        durable.set(fileName, Math.max(durable.get(fileName) ?? 0, Math.min(size, file.size)));
      },
      close: () => file.close(),
    };
  };
  const frail: FrailOutput = {
    ...memory,
    get boot() {
      return `boot ${boots}`;
    },
    survived: (boot) => boot === `boot ${boots}`,
    room: Number.MAX_SAFE_INTEGER,
    says: null,
    free: async () => frail.says,
    file: async (fileName, keep) => wrap(fileName, await memory.file(fileName, keep), keep, boots),
    powerFailure: async (seed) => {
      boots++;
      const next = numbers(seed);
      for (const [fileName, kept] of durable) {
        const all = await memory.readBytes(fileName);
        if (!all) continue;
        const lost = all.byteLength - kept;
        const tails = [
          new Uint8Array(0),
          new Uint8Array(lost),
          content(seed, lost),
          all.slice(kept, kept + (lost >> 1)),
          all.slice(kept), // luck
        ];
        const file = await memory.file(fileName, kept);
        await file.write(tails[next() % tails.length]!);
        await file.close();
      }
    },
  };
  return frail;
}
