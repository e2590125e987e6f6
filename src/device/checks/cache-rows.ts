import type { CacheRowsArguments } from '../device.ts';
import { checkRope } from './layers.ts';
import { checkCopyRows } from './rows.ts';
import { checkApart, heightOf, shapeError } from './tensor.ts';

/** What its parts ask for, that queries turn as keys do, and that all of it is apart. */
export function checkCacheRows(args: CacheRowsArguments): void {
  const { q, k, v, keys, values, toRow, table, positions, queryLayout, keyLayout } = args;
  checkCopyRows(k, keys, toRow);
  checkCopyRows(v, values, toRow);
  if (heightOf(v) !== heightOf(k)) throw shapeError('cacheRows', `${heightOf(k)} keys and ${heightOf(v)} values`);
  if (table) {
    checkRope(k, table, positions, keyLayout);
    if (q) checkRope(q, table, positions, queryLayout);
  }
  if (
    queryLayout.headDim !== keyLayout.headDim ||
    queryLayout.rotaryDims !== keyLayout.rotaryDims ||
    queryLayout.layout !== keyLayout.layout
  ) {
    throw shapeError('cacheRows', 'queries and keys differ in more than their heads');
  }
  checkApart('cacheRows', keys, k, v, values, q);
  checkApart('cacheRows', values, k, v, q, table);
  checkApart('cacheRows', k, v, q);
  if (q) checkApart('cacheRows', q, v);
}
