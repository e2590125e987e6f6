/** Numbers of a row of `DrawArguments.rules` (src/device/fused-device.ts). */
export const DRAW_RULE = {
  /** One of `DRAW_KIND`. */
  kind: 0,
  /** 1 / temperature. */
  inverse: 1,
  /** What is drawn, from 0 to below 1. */
  uniform: 2,
  topP: 3,
  minP: 4,
  /** Of those that are listed for the row, how many count. */
  count: 5,
  /** Whether no others may be drawn (top-k). */
  limited: 6,
} as const;

/** Of a row's rule. */
export const DRAW_FIELDS: number = Object.keys(DRAW_RULE).length;

/** What a row's token is drawn from: nothing but the likeliest, the whole row, or those that are listed for it. */
export const DRAW_KIND = { likeliest: 0, whole: 1, listed: 2 } as const;

/** Tokens that are listed for a row, at most. */
export const MOST_LISTED = 256;
