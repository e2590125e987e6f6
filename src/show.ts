/**
 * Many-shot prompting that reuses cached examples (`espalier/show`): AdapShot (arXiv 2605.03644), in the calling thread. Formulas, defaults
 * and their sources stand with each option.
 */

export { AdapShot } from './adapshot/adapshot.ts';
export type { CalibrationItem } from './adapshot/calibration.ts';
export { Chain, type ChainOptions } from './adapshot/chain.ts';
export { Chains, type ChainsOptions } from './adapshot/chains.ts';
export { type Continuation, type PlacedShots, type Placing, ShotContext } from './adapshot/context.ts';
export { type ShotFields, shotIdentity } from './adapshot/identity.ts';
export type { AdapShotOptions } from './adapshot/options.ts';
export { type PooledUnit, ShotPool } from './adapshot/pool.ts';
export { poolOptionsOf, type ShowSettings } from './adapshot/presets.ts';
export { memoryShotStore, openShotStore } from './adapshot/store.ts';
export type { StoredShot } from './adapshot/stored.ts';
export type * from './adapshot/types.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
