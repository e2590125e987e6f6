/** A file that is something else than what was looked for. */
export interface Stranger {
  /** For a message, behind "is": what the file is. */
  readonly what: string;
  /** What to do. */
  readonly hint: string;
}

/** How many bytes from the start `strangerOf` looks at. */
export const STRANGER_BYTES = 264;

const CONVERT =
  'Convert it with transformers: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER) writes safetensors.';

const BY_TEXT: readonly (readonly [start: RegExp, stranger: Stranger])[] = [
  [
    /^version https:\/\/git-lfs\.github\.com\/spec\//,
    {
      what: 'a Git LFS pointer, not the file that it stands for',
      hint: 'Run `git lfs pull` in the folder, or download the file again.',
    },
  ],
  [
    /^\s*<(?:!doctype html|html|head|\?xml|error)/i,
    {
      what: 'a web page (probably an error or a login), not a model',
      hint: 'Download it again, and look at what the server says.',
    },
  ],
  [
    /^(?:Entry not found|Invalid username or password|Access to model|Repository not found|Not Found)/i,
    {
      what: 'the text of an error that a server sent, not a model',
      hint: 'Download it again, with access to the model.',
    },
  ],
];

const BY_BYTES: readonly (readonly [at: number, bytes: readonly number[], stranger: Stranger])[] = [
  [
    0,
    [0x50, 0x4b, 0x03, 0x04],
    { what: 'a ZIP archive, as PyTorch writes its pickles', hint: `Unpack it, or if it is a PyTorch file: ${CONVERT}` },
  ],
  [0, [0x80, 0x02], { what: 'a Python pickle, as PyTorch writes', hint: CONVERT }],
  [0, [0x80, 0x03], { what: 'a Python pickle, as PyTorch writes', hint: CONVERT }],
  [0, [0x80, 0x04], { what: 'a Python pickle, as PyTorch writes', hint: CONVERT }],
  [0, [0x1f, 0x8b], { what: 'packed with gzip', hint: 'Unpack it first (gunzip).' }],
  [0, [0x28, 0xb5, 0x2f, 0xfd], { what: 'packed with zstd', hint: 'Unpack it first (unzstd).' }],
  [0, [0xfd, 0x37, 0x7a, 0x58, 0x5a], { what: 'packed with xz', hint: 'Unpack it first (unxz).' }],
  [0, [0x42, 0x5a, 0x68], { what: 'packed with bzip2', hint: 'Unpack it first (bunzip2).' }],
  [0, [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], { what: 'a 7z archive', hint: 'Unpack it first.' }],
  [257, [0x75, 0x73, 0x74, 0x61, 0x72], { what: 'a tar archive', hint: 'Unpack it first (tar -xf).' }],
  [0, [0x89, 0x48, 0x44, 0x46], { what: 'an HDF5 file, as Keras and TensorFlow write', hint: CONVERT }],
  [
    4,
    [0x54, 0x46, 0x4c, 0x33],
    { what: 'a TensorFlow Lite file', hint: 'Get the safetensors or GGUF files of the model.' },
  ],
  ...(['lmgg', 'fmgg', 'tjgg', 'algg'] as const).map(
    (magic) =>
      [
        0,
        [...magic].map((char) => char.charCodeAt(0)),
        {
          what: 'a file of GGML, which came before GGUF',
          hint: 'Convert the model anew with a current llama.cpp, or get its GGUF file.',
        },
      ] as const,
  ),
];
/** Who writes ONNX models: the second field of their protobuf. */
const ONNX_PRODUCER = /^(?:pytorch|tf2onnx|onnx|skl2onnx|keras2onnx|optimum)/;

/** What the first bytes of a file show it to be, of the things that are often taken for a model or its JSON; null: nothing known. */
export function strangerOf(bytes: Uint8Array): Stranger | null {
  const start = bytes.subarray(0, STRANGER_BYTES);
  for (const [at, magic, stranger] of BY_BYTES) {
    if (start.length >= at + magic.length && magic.every((byte, i) => start[at + i] === byte)) return stranger;
  }
  const text = String.fromCharCode(...start);
  for (const [pattern, stranger] of BY_TEXT) if (pattern.test(text)) return stranger;
  // a small version number, then the producer's name with its length
  const onnx = start[0] === 8 && start[2] === 0x12 && ONNX_PRODUCER.test(text.slice(4));
  if (onnx) return { what: 'an ONNX model', hint: 'Get the safetensors or GGUF files of the model.' };
  return null;
}

/**
 * What a folder without safetensors and GGUF files holds instead of a model that is read here, by the names of its files; null: nothing
 * known. An adapter tells its base model itself (`adapterBase`).
 */
export function strangeFolder(names: readonly string[]): Stranger | null {
  const some = (pattern: RegExp) => names.find((name) => pattern.test(name));
  const pickle = some(
    /^pytorch_model.*\.bin(?:\.index\.json)?$|^consolidated\..*\.pth$|\.(?:pt|pth|ckpt)$|^model.*\.bin$/,
  );
  if (pickle)
    return { what: `has its weights in PyTorch's pickle format (${pickle}), which is not read here`, hint: CONVERT };
  const tensorFlow = some(/^tf_model.*\.h5$|\.h5$|^flax_model.*\.msgpack$|^rust_model\.ot$/);
  if (tensorFlow) return { what: `has its weights in a format that is not read here (${tensorFlow})`, hint: CONVERT };
  const onnx = some(/\.onnx(?:_data)?$/);
  if (onnx)
    return {
      what: `holds an ONNX model (${onnx}), which is not read here`,
      hint: 'Get its safetensors or GGUF files.',
    };
  const ggml = some(/^ggml.*\.bin$/);
  if (ggml) {
    return { what: `holds a file of GGML (${ggml}), which came before GGUF`, hint: 'Get the GGUF file of the model.' };
  }
  return null;
}
