import { plainFrequencies, type ScalingKind } from './scaling.ts';

export interface NoScaling {
  readonly type: 'none';
}

export const none: ScalingKind<NoScaling> = {
  fromJson: () => ({ type: 'none' }),
  fromGguf: () => ({ type: 'none' }),
  toJson: () => null,
  check: () => {},
  frequencies: (_, rotation) => ({ inverseFrequencies: plainFrequencies(rotation), attentionFactor: 1 }),
  longer: null,
};
