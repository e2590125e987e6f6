import { fromByteLevel } from './byte-level.ts';
import { asArray, asFlag, asObject, asText, invalidTokenizer } from './checks.ts';

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
  readonly #texts: readonly (string | undefined)[];
  readonly #literal: ReadonlySet<number>;
  readonly #decoding: Decoding;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  /**
   * @param texts by id
   * @param literal ids of tokens that are never written in the alphabet of bytes: added ones
   * @throws E_TOKENIZER_INVALID for a decoder that is not one of those of byte-level BPE and SentencePiece
   */
  constructor(texts: readonly (string | undefined)[], literal: ReadonlySet<number>, decoder: unknown) {
    this.#texts = texts;
    this.#literal = literal;
    this.#decoding = readDecoder(decoder);
  }

  /** The bytes of one token; none for an id that the vocabulary does not have, as in Hugging Face. */
  bytesOf(id: number): Uint8Array {
    return (this.#bytes[id] ??= this.#toBytes(id, null));
  }

  #toBytes(id: number, drop: string | null): Uint8Array {
    const { kind, replace, byteFallback } = this.#decoding;
    let text = this.#texts[id];
    if (text === undefined) return new Uint8Array(0);
    if (kind === 'byte-level') {
      return (this.#literal.has(id) ? null : fromByteLevel(text)) ?? utf8.encode(text);
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
        if (skip.has(id) || this.#texts[id] === undefined) return '';
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
        for (const part of asArray(options['decoders'], 'The list of decoders')) read(part);
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
        const count = options['start'] ?? 0;
        if (typeof count !== 'number' || !Number.isInteger(count) || count < 0) {
          throw unsupported('has a start that is not a whole number');
        }
        strip = { byte: content.charCodeAt(0), count };
        break;
      }
      case 'Metaspace': {
        const mark = asText(options['replacement'] ?? '\u2581', 'The mark of the decoder');
        const isPrefixed = asFlag(options['add_prefix_space'], 'add_prefix_space', true);
        const scheme = options['prepend_scheme'] ?? (isPrefixed ? 'always' : 'never');
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
