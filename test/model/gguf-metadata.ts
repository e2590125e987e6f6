import { readBytes } from '../files.ts';

/** The metadata of a GGUF file, read in the plainest way: enough to test the tokenizer against a real file. */
export async function ggufMetadata(path: string): Promise<Map<string, unknown>> {
  const bytes = await readBytes(path, 16 << 20);
  const view = new DataView(bytes.buffer);
  const decoder = new TextDecoder();
  let at = 8;
  const size = () => {
    at += 8;
    return Number(view.getBigUint64(at - 8, true));
  };
  const text = () => {
    const length = size();
    at += length;
    return decoder.decode(bytes.subarray(at - length, at));
  };
  const scalar = (width: number, get: (offset: number) => unknown) => () => {
    at += width;
    return get(at - width);
  };
  const readers: Record<number, () => unknown> = {
    0: scalar(1, (o) => view.getUint8(o)),
    1: scalar(1, (o) => view.getInt8(o)),
    2: scalar(2, (o) => view.getUint16(o, true)),
    3: scalar(2, (o) => view.getInt16(o, true)),
    4: scalar(4, (o) => view.getUint32(o, true)),
    5: scalar(4, (o) => view.getInt32(o, true)),
    6: scalar(4, (o) => view.getFloat32(o, true)),
    7: scalar(1, (o) => view.getUint8(o) !== 0),
    8: text,
    9: () => {
      const type = readers[view.getUint32((at += 4) - 4, true)]!;
      return Array.from({ length: size() }, () => type());
    },
    10: size,
    11: size,
    12: scalar(8, (o) => view.getFloat64(o, true)),
  };
  size(); // the number of tensors
  const metadata = new Map<string, unknown>();
  for (let left = size(); left > 0; left--) {
    const key = text();
    metadata.set(key, readers[view.getUint32((at += 4) - 4, true)]!());
  }
  return metadata;
}
