import { readSafetensors } from '../../checkpoint/safetensors/safetensors.ts';
import { planShards } from '../../checkpoint/write/shards.ts';
import type { Device, Tensor } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import { createHasher } from '../../runtime/files/hash.ts';
import type { ModelFiles } from '../../runtime/files/source.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';

/** Bytes that cross between device and file at a time. */
const PIECE = 8 << 20;

/** An f32 tensor on a device, and its name in a file. */
export interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

/** A file as it was written. */
export interface WrittenFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Bytes of the file that `writeTensors` makes of them. */
export function sizeOfTensors(list: readonly NamedTensor[]): number {
  return plan(list).bytes;
}

/**
 * Writes f32 tensors as one safetensors file, which is synced when this resolves.
 * @param look sees each piece on its way
 * @throws E_STORAGE_FULL, E_FILE_WRITE; what `look` throws. What was written of the file stays then
 */
export async function writeTensors(
  out: OutputFolder,
  name: string,
  device: Device,
  list: readonly NamedTensor[],
  look: (values: Float32Array, name: string) => void = () => {},
): Promise<WrittenFile> {
  const { header, bytes } = plan(list);
  const hash = await createHasher('sha256');
  const file = await out.file(name, 0);
  try {
    hash.update(header);
    await file.write(header);
    for (const { name: own, tensor } of list) {
      for (const piece of piecesOf(device, tensor)) {
        const content = await device.readBytes(piece);
        look(new Float32Array(content.buffer), own);
        hash.update(content);
        await file.write(content);
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { name, bytes, sha256: hash.hex() };
}

/**
 * Reads tensors of such a file back into those of the same names.
 * @throws E_FILE_READ where the file is not the one that was written, or has other tensors
 */
export async function readTensors(
  files: ModelFiles,
  written: WrittenFile,
  device: Device,
  list: readonly NamedTensor[],
): Promise<void> {
  const hash = await createHasher('sha256');
  const { header, bytes } = plan(list);
  const source = await files.open(written.name);
  try {
    if (source.size !== written.bytes || bytes !== written.bytes) throw damaged(written.name);
    const { tensors } = await readSafetensors(source).catch((cause) => {
      throw damaged(written.name, cause);
    });
    hash.update(header);
    for (const { name, tensor } of list) {
      const entry = tensors.get(name);
      if (entry?.type !== 'f32' || entry.byteLength !== tensor.byteLength) throw damaged(written.name);
      let { offset } = entry;
      for (const piece of piecesOf(device, tensor)) {
        const content = new Uint8Array(piece.byteLength);
        await source.readInto(offset, content);
        hash.update(content);
        device.writeBytes(piece, content);
        offset += content.byteLength;
      }
    }
    if (hash.hex() !== written.sha256) throw damaged(written.name);
  } finally {
    await source.close();
  }
}

function plan(list: readonly NamedTensor[]): { readonly header: Uint8Array; readonly bytes: number } {
  const tensors = list.map(({ name, tensor }) => ({ name, type: 'f32' as const, shape: tensor.shape }));
  return planShards([{ tensors }], Number.MAX_VALUE, {})[0]!;
}

/** Rows of a tensor, several at a time. */
function* piecesOf(device: Device, tensor: Tensor): Generator<Tensor> {
  const width = tensor.shape.at(-1) ?? 1;
  const rows = width === 0 ? 0 : tensor.byteLength / 4 / width;
  const step = Math.max(1, Math.floor(PIECE / 4 / width));
  for (let first = 0; first < rows; first += step) yield device.rows(tensor, first, Math.min(step, rows - first));
}

export function damaged(name: string, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_FILE_READ',
    `${name} is not what was written: the state of the training is damaged.`,
    'Pass `restart: true` to begin anew, or choose another folder.',
    { cause },
  );
}
