import type { CacheRowsArguments } from '../device.ts';
import { checkRope } from './layers.ts';
import { checkCopyRows } from './rows.ts';
import { checkApart, heightOf, shapeError } from './tensor.ts';

/** What its parts ask for, and that they are apart. */
export function checkCacheRows(args: CacheRowsArguments): void {
  const { q, k, v, keys, values, toRow, table, positions, queryLayout, keyLayout } = args;
  checkCopyRows(k, keys, toRow);
  checkCopyRows(v, values, toRow);
  if (heightOf(v) !== heightOf(k)) throw shapeError('cacheRows', `${heightOf(k)} keys and ${heightOf(v)} values`);
  if (table) {
    checkRope(k, table, positions, keyLayout);
    if (q) checkRope(q, table, positions, queryLayout);
  }
  checkApart('cacheRows', keys, k, v, values, q);
  checkApart('cacheRows', values, k, v, q, table);
  checkApart('cacheRows', k, v, q);
  if (q) checkApart('cacheRows', q, k, v, keys, values);
}
