import { EspalierError } from '../errors.ts';
import { words } from '../options/rules.ts';
import { openCache } from '../runtime/cache-default.ts';
import { defineCommand } from './command.ts';
import { jsonArgument } from './common.ts';
import { formatBytes, formatTable } from './format.ts';

export const cacheCommand = defineCommand({
  meta: { name: 'cache', description: 'Downloaded models: what there is, and freeing its space' },
  args: {
    remove: { type: 'string', value: 'KEY', description: 'Remove the entry with this key or name', rule: words },
    clear: { type: 'boolean', description: 'Remove everything', default: false },
    json: jsonArgument,
  },
  run: async ({ args, io }) => {
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
