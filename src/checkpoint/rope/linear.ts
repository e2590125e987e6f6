import { f32, plainFrequencies, type ScalingKind } from './scaling.ts';

/** Positions are divided by a factor. */
export interface LinearScaling {
  readonly type: 'linear';
  readonly factor: number;
}

export const linear: ScalingKind<LinearScaling> = {
  fromJson: ({ need }) => ({ type: 'linear', factor: need('factor') }),
  fromGguf: ({ factor }) => ({ type: 'linear', factor }),
  toJson: ({ factor }) => ({ rope_type: 'linear', factor }),
  check: ({ factor }, { positive }) => positive('factor', factor),
  /** `_compute_linear_scaling_rope_parameters`. */
  frequencies: ({ factor }, rotation) => ({
    inverseFrequencies: plainFrequencies(rotation).map((frequency) => f32(frequency / f32(factor))),
    attentionFactor: 1,
  }),
  longer: null,
};
