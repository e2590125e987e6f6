import { EspalierError } from '../errors.ts';
import { words } from '../options/rules.ts';
import { openCache } from '../runtime/cache/default.ts';
import type { Cache, CacheFault } from '../runtime/cache/types.ts';
import { type Context, defineCommand } from './shared/command.ts';
import { jsonArgument } from './shared/common.ts';
import { formatBytes, formatTable } from './shared/format.ts';

export const cacheCommand = defineCommand({
  meta: { name: 'cache', description: 'Downloaded models: what there is, and freeing its space' },
  args: {
    remove: { type: 'string', value: 'KEY', description: 'Remove the entry with this key or name', rule: words },
    verify: { type: 'boolean', description: 'Read all files and compare them with their checksums', default: false },
    clear: { type: 'boolean', description: 'Remove everything', default: false },
    json: jsonArgument,
  },
  run: async (context) => {
    const { args, io } = context;
    const wanted = (['remove', 'verify', 'clear'] as const).filter((name) => (args[name] ?? false) !== false);
    if (wanted.length > 1) {
      const [first, second] = wanted;
      throw new EspalierError('E_ARGUMENT', `--${first} and --${second} contradict each other.`, 'Give one.');
    }
    const cache = await openCache();
    if (args.clear) await cache.clear();
    if (args.remove !== undefined) {
      const found = (await cache.list()).find(({ key, name }) => key === args.remove || name === args.remove);
      if (!found || !(await cache.remove(found.key))) {
        throw new EspalierError(
          'E_FILE_NOT_FOUND',
          `${cache.name} holds no ${args.remove}.`,
          'Run the command without --remove to see what is there.',
        );
      }
    }
    if (args.verify) {
      await verify(cache, args.json, context);
      return;
    }
    const entries = await cache.list();
    if (args.json) {
      io.out(`${JSON.stringify({ name: cache.name, entries })}\n`);
      return;
    }
    io.out(`${cache.name}\n`);
    const rows = entries.map(({ kind, name, bytes, key }): [string, string, string, string] => {
      return [kind, name, formatBytes(bytes), key];
    });
    io.out(rows.length ? `${formatTable(['kind', 'name', 'size', 'key'], rows)}\n` : 'empty\n');
  },
});

const FAULTS: Readonly<Record<CacheFault['fault'], string>> = {
  content: 'damaged: another checksum',
  size: 'damaged: another size',
  kind: 'a link or no file, not used',
  unreadable: 'cannot be read',
  unknown: 'nothing says what it must be',
};

/** Says what is not what it should be, which the exit code tells too. */
async function verify(cache: Cache, isJson: boolean, { io, signal, fail }: Context<unknown>): Promise<void> {
  const faults = await cache.verify({ signal });
  if (faults.some(({ fault }) => fault !== 'unknown')) fail();
  if (isJson) {
    io.out(`${JSON.stringify({ name: cache.name, faults })}\n`);
    return;
  }
  io.out(`${cache.name}\n`);
  if (faults.length === 0) {
    io.out('all is as it should be\n');
    return;
  }
  const rows = faults.map(({ key, models, fault }) => [FAULTS[fault], models.join(', '), key]);
  io.out(`${formatTable(['what is wrong', 'of', 'key'], rows)}\n`);
  io.out('espalier cache --remove KEY removes one; it is downloaded again when it is wanted.\n');
}
