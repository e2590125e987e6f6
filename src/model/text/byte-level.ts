/** GPT-2's alphabet: printable bytes are themselves, the others are moved to U+0100 and up. */
const characters: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
})();

const bytes: ReadonlyMap<number, number> = new Map(
  characters.map((character, byte) => [character.charCodeAt(0), byte]),
);
const utf8 = new TextEncoder();

/** The bytes of a text, each as a character of GPT-2's alphabet. */
export function toByteLevel(text: string): string {
  if (/^[!-~]*$/.test(text)) return text;
  let result = '';
  for (const byte of utf8.encode(text)) result += characters[byte]!;
  return result;
}

/** The bytes that such a text stands for, or null when it is not written in the alphabet. */
export function fromByteLevel(text: string): Uint8Array | null {
  const result = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = bytes.get(text.charCodeAt(i));
    if (byte === undefined) return null;
    result[i] = byte;
  }
  return result;
}

/** All 256 characters. */
export const BYTE_LEVEL_ALPHABET: readonly string[] = characters;
