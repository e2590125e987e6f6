import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';

type Scaled = Pick<ModelConfig, 'embeddingScale'>;

/** out [t, hidden] = embeddingScale · the row of each token: where the residual stream begins. ids i32 [t]. */
export function tokenEmbedding(
  device: Device,
  { embeddingScale }: Scaled,
  embedding: Tensor,
  ids: Tensor,
  out: Tensor,
): void {
  device.embed(ids, embedding, out);
  if (embeddingScale !== 1) device.scale(out, embeddingScale);
}

/** Of `tokenEmbedding`: dEmbedding [vocab, hidden] += embeddingScale · dOut by token. dOut is scaled where it stands. */
export function tokenEmbeddingBackward(
  device: TrainDevice,
  { embeddingScale }: Scaled,
  ids: Tensor,
  dOut: Tensor,
  dEmbedding: Tensor,
): void {
  if (embeddingScale !== 1) device.scale(dOut, embeddingScale);
  device.embedBackward(ids, dOut, dEmbedding);
}
