/** What crosses between the caller's thread and a show worker, as types. */

import type { Precision } from '../../device/device.ts';
import type { HubOptions } from '../../runtime/hub/options.ts';
import type { PrefixMode, Shot, StorageType } from '../../show/types.ts';
import type { LinkKind, WorkerLink } from '../line/link.ts';
import type { WireTarget } from '../line/port.ts';

/** What one worker is to do. */
export interface EncodeOrder {
  readonly shots: readonly Shot[];
  /** Of the store; undefined: the default one. */
  readonly store?: string;
  readonly instruction?: string;
  readonly prefix?: PrefixMode;
  readonly storage?: StorageType;
  readonly precision?: Precision;
  readonly contextLength?: number;
  readonly hub?: HubOptions;
  readonly wasmLocation?: string;
}

/** Calls that a show worker answers. */
export interface ShowCalls {
  /** How many shots the store had already. */
  encode(target: WireTarget, order: EncodeOrder): Promise<number>;
}

export type ShowLink = WorkerLink<ShowCalls>;

export const SHOW: LinkKind = {
  worker: 'show',
  again: 'Call it again: what is in the store is not encoded again.',
  local: 'ShotPool.build of espalier/show',
};
