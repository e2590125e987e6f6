import { plainFrequencies, type Rotation, type ScalingKind } from './scaling.ts';

/** NTK-aware scaling by length: the base grows with a text longer than the original context. */
export interface DynamicScaling {
  readonly type: 'dynamic';
  readonly factor: number;
  readonly originalMaxPositions: number;
  /** The length that frequencies are for, whatever the text's: rotations add up only while frequencies stay. */
  readonly length: number;
}

export const dynamic: ScalingKind<DynamicScaling> = {
  // as there, the original context is the model's, until `withContext` asks for more
  fromJson: ({ need, maxPositions }) => {
    return { type: 'dynamic', factor: need('factor'), originalMaxPositions: maxPositions, length: maxPositions };
  },
  fromGguf: null,
  toJson: ({ factor }) => ({ rope_type: 'dynamic', factor }),
  check: ({ factor }, { positive, rotaryDims, invalid }) => {
    positive('factor', factor);
    if (rotaryDims <= 2) throw invalid('dynamic RoPE scaling needs more than 2 rotated dimensions');
  },
  /** `_compute_dynamic_ntk_parameters`. */
  frequencies: (scaling, rotation) => ({
    inverseFrequencies: plainFrequencies({ ...rotation, theta: base(scaling, rotation) }),
    attentionFactor: 1,
  }),
  longer: {
    most: ({ originalMaxPositions, factor }) => Math.floor(originalMaxPositions * factor),
    at: (scaling, length) => ({ ...scaling, length }),
  },
};

/** theta · (factor · length / original − (factor − 1))^(r / (r − 2)) beyond the original context, theta within. */
function base({ factor, originalMaxPositions, length }: DynamicScaling, { theta, rotaryDims }: Rotation): number {
  if (length <= originalMaxPositions) return theta;
  return theta * ((factor * length) / originalMaxPositions - (factor - 1)) ** (rotaryDims / (rotaryDims - 2));
}
