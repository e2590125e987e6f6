import { asObject, type CheckedTokenizer, invalidTokenizer } from './tokenizer-json.ts';

/** How token texts become bytes: what a tokenizer.json calls its decoder. */
interface Decoding {
  readonly kind: 'byte-level' | 'text';
  /** Texts replaced inside each token (`▁` by a space). */
  readonly replace: readonly (readonly [string, string])[];
  /** Whether tokens `<0x00>` to `<0xFF>` stand for one byte. */
  readonly byteFallback: boolean;
  /** This byte is removed from the start of the whole text, at most so many times. */
  readonly strip: { readonly byte: number; readonly count: number };
  /** Removed everywhere from the first token (Metaspace). */
  readonly dropFromFirst: string | null;
}

/**
 * Turns ids back into text. Every token is a run of bytes; the text is the bytes one after the other, read as UTF-8, with
 * U+FFFD for what is not UTF-8. So decoding all at once and decoding in pieces agree by construction.
 *
 * Hugging Face's byte fallback replaces a whole run of `<0x..>` tokens when any byte of it is invalid; here only the
 * invalid bytes are, since a stream cannot wait for the end of the run. Valid text is the same.
 */
export class Detokenizer {
  readonly #tokenizer: CheckedTokenizer;
  readonly #decoding: Decoding;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  /** @throws E_TOKENIZER_INVALID for a decoder that is not one of those of byte-level BPE and SentencePiece */
  constructor(tokenizer: CheckedTokenizer, decoder: unknown) {
    this.#tokenizer = tokenizer;
    this.#decoding = readDecoder(decoder);
  }

  /** The bytes of one token; none for an id that the vocabulary does not have, as in Hugging Face. */
  bytesOf(id: number): Uint8Array {
    return (this.#bytes[id] ??= this.#toBytes(id, null));
  }

  #toBytes(id: number, drop: string | null): Uint8Array {
    const { kind, replace, byteFallback } = this.#decoding;
    let text = this.#tokenizer.texts[id];
    if (text === undefined) return new Uint8Array(0);
    if (kind === 'byte-level') {
      return (this.#tokenizer.added.has(id) ? null : fromByteLevel(text)) ?? utf8.encode(text);
    }
    if (byteFallback && /^<0x[0-9A-Fa-f]{2}>$/.test(text)) return Uint8Array.of(Number.parseInt(text.slice(3, 5), 16));
    if (drop !== null) text = text.replaceAll(drop, '');
    for (const [from, to] of replace) text = text.replaceAll(from, to);
    return utf8.encode(text);
  }

  /**
   * A new text. Ids of `skip` are passed over. With `continues` the ids go on from others: the space that SentencePiece puts
   * before a text is then not taken away.
   */
  stream(skip: ReadonlySet<number>, continues = false): TokenStream {
    const { strip, dropFromFirst } = this.#decoding;
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    let first = !continues;
    let toStrip = continues ? 0 : strip.count;
    return {
      push: (id) => {
        if (skip.has(id) || this.#tokenizer.texts[id] === undefined) return '';
        let bytes = first && dropFromFirst !== null ? this.#toBytes(id, dropFromFirst) : this.bytesOf(id);
        first = false;
        let start = 0;
        while (toStrip > 0 && start < bytes.length) {
          if (bytes[start] === strip.byte) {
            start++;
            toStrip--;
          } else toStrip = 0;
        }
        if (start > 0) bytes = bytes.subarray(start);
        return bytes.length === 0 ? '' : decoder.decode(bytes, { stream: true });
      },
      end: () => decoder.decode(),
    };
  }
}

/**
 * Text that comes out token by token. The pieces, `end()`'s included, joined together are the text of all ids; no piece
 * ends inside a character.
 */
export interface TokenStream {
  /** The text that this token completes; empty when it ends inside a character. */
  push(id: number): string;
  /** What is left: U+FFFD when the text ended inside a character. The stream cannot be used afterwards. */
  end(): string;
}

const utf8 = new TextEncoder();

/** GPT-2's alphabet: printable bytes are themselves, the others are moved to U+0100 and up. */
const byteOfChar: ReadonlyMap<number, number> = (() => {
  const map = new Map<number, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    map.set(printable ? byte : next++, byte);
  }
  return map;
})();

function fromByteLevel(text: string): Uint8Array | null {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = byteOfChar.get(text.charCodeAt(i));
    if (byte === undefined) return null; // not written in the alphabet: the text stands for itself
    bytes[i] = byte;
  }
  return bytes;
}

function readDecoder(decoder: unknown): Decoding {
  const replace: [string, string][] = [];
  let kind: Decoding['kind'] = 'text';
  let byteFallback = false;
  let fused = false;
  let strip = { byte: 0, count: 0 };
  let dropFromFirst: string | null = null;

  const read = (node: unknown): void => {
    const { type, ...options } = asObject(node, 'The decoder');
    const unsupported = (why: string) => invalidTokenizer(`The decoder ${String(type)} ${why}.`);
    if (kind === 'byte-level') throw unsupported('after ByteLevel is not supported');
    if (fused && type !== 'Strip') throw unsupported('after Fuse is not supported');
    switch (type) {
      case 'Sequence': {
        const parts = options['decoders'];
        if (!Array.isArray(parts)) throw unsupported('has no parts');
        for (const part of parts) read(part);
        break;
      }
      case 'ByteLevel':
        kind = 'byte-level';
        break;
      case 'Replace': {
        const pattern = asObject(options['pattern'], 'The pattern of the decoder')['String'];
        if (typeof pattern !== 'string' || typeof options['content'] !== 'string') {
          throw unsupported('is supported for plain texts only');
        }
        replace.push([pattern, options['content']]);
        break;
      }
      case 'ByteFallback':
        byteFallback = true;
        break;
      case 'Fuse':
        fused = true;
        break;
      case 'Strip': {
        const content = options['content'];
        if (!fused || typeof content !== 'string' || !/^[\x20-\x7e]$/.test(content) || (options['stop'] ?? 0) !== 0) {
          throw unsupported('is supported only for one ASCII character at the start of the whole text');
        }
        strip = { byte: content.charCodeAt(0), count: Number(options['start'] ?? 0) };
        break;
      }
      case 'Metaspace': {
        const mark = String(options['replacement'] ?? '\u2581');
        const scheme = options['prepend_scheme'] ?? (options['add_prefix_space'] === false ? 'never' : 'always');
        replace.push([mark, ' ']);
        if (scheme !== 'never') dropFromFirst = mark;
        break;
      }
      default:
        throw unsupported('is not supported');
    }
  };
  read(decoder);
  return { kind, replace, byteFallback, strip, dropFromFirst };
}
