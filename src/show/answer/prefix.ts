import type { PrefixMode, Preset } from '../types.ts';

/** How a pool for a preset is encoded, unless told otherwise. */
export const prefixOf = (preset: Preset): PrefixMode => (preset === 'generate' ? { repair: 1 } : 'bare');
