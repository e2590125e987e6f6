/** A worker, where files are written by other means: runs the contract of caches, or tries to write one blob. */
import { opfsCache } from '../../src/runtime/cache/opfs.ts';
import { cacheContract } from './cache-contract.ts';

export interface Order {
  readonly folder: string;
  /** A blob to claim, instead of the contract. */
  readonly claim?: string;
}

export interface Answer {
  readonly isSync: boolean;
  readonly checks: number;
  readonly failures: readonly string[];
  /** Whether the blob could be claimed. */
  readonly writes: boolean;
}

addEventListener('message', async ({ data: { folder, claim } }: MessageEvent<Order>) => {
  const failures: string[] = [];
  const checks = claim === undefined ? cacheContract(() => opfsCache(folder)) : [];
  for (const [name, check] of checks) {
    try {
      await check();
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    }
  }
  const writer = claim === undefined ? null : (await (await opfsCache(folder)).claim(claim)).writer;
  await writer?.discard();
  const isSync = 'createSyncAccessHandle' in FileSystemFileHandle.prototype;
  postMessage({ isSync, checks: checks.length, failures, writes: writer !== null } satisfies Answer);
});
