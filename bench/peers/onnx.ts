/** Just enough protobuf to write an ONNX file that holds one MatMul of square f32 matrices. */

const utf8 = new TextEncoder();

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

/** Field of wire type 0. */
const number = (field: number, value: number): Uint8Array => Uint8Array.from([...varint(field * 8), ...varint(value)]);

/** Field of wire type 2: a string, bytes, or a message given as its fields. */
function message(field: number, ...parts: (string | Uint8Array)[]): Uint8Array {
  const body = parts.map((part) => (typeof part === 'string' ? utf8.encode(part) : part));
  const length = body.reduce((sum, part) => sum + part.length, 0);
  return concatenate([Uint8Array.from([...varint(field * 8 + 2), ...varint(length)]), ...body]);
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** GraphProto.initializer: dims = 1, data_type = 2 (FLOAT is 1), name = 8, raw_data = 9. */
export function tensorProto(name: string, data: Float32Array, n: number): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(5, number(1, n), number(1, n), number(2, 1), message(8, name), message(9, bytes));
}

/** ValueInfoProto in field 11 (input) or 12 (output) of the graph. */
function value(field: number, name: string, n: number): Uint8Array {
  const dim = message(1, number(1, n));
  return message(field, message(1, name), message(2, message(1, number(1, 1), message(2, dim, dim))));
}

/** ModelProto of C = A·B. With `constant` B is an initializer, otherwise the second input. */
export function writeMatMul(n: number, constant: Uint8Array | null): Uint8Array {
  const node = message(1, message(1, 'A'), message(1, 'B'), message(2, 'C'), message(4, 'MatMul'));
  const inputs = constant ? [value(11, 'A', n), constant] : [value(11, 'A', n), value(11, 'B', n)];
  const graph = message(7, node, message(2, 'product'), ...inputs, value(12, 'C', n));
  return concatenate([number(1, 8), graph, message(8, number(2, 17))]);
}
