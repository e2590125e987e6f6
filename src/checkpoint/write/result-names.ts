import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, ALTER_CONFIG, ALTER_WEIGHTS } from '../../runtime/hub/remote-files.ts';
import { COPIED } from './small-files.ts';

/** Files that a checkpoint consists of, under any number of shards. */
const SHARDS = /^model(?:-\d{5,}-of-\d{5,})?\.safetensors(?:\.index\.json)?$/;
const NAMES: ReadonlySet<string> = new Set([
  ...COPIED,
  'config.json',
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  ALTER_CONFIG,
  ALTER_WEIGHTS,
]);
/** `espalier-training.json` and others: written last, of a result that is whole. */
const RECEIPT = /^espalier-[a-z]+\.json$/;

/** Whether a file of this name would be taken for a part of a model or an adapter by whoever opens a folder. */
export function isResultFile(name: string): boolean {
  const own = name.slice(name.lastIndexOf('/') + 1);
  return SHARDS.test(own) || NAMES.has(own);
}

export const isReceipt = (name: string): boolean => RECEIPT.test(name);
