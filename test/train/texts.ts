/** Texts in the letters of test/engine/tiny-model.ts. */

const NAMES = ['Tom', 'Mia', 'Leo', 'Ada'];
const THINGS = ['ball', 'dog', 'tree', 'boat', 'cake'];

export const LINES = `${NAMES.flatMap((name) => THINGS.map((thing) => `${name} has a ${thing}, and it is a good ${thing}.`)).join('\n')}\n`;

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The same with a line more. */
export function withNumber(bytes: Uint8Array): Uint8Array {
  return bytesOf(`${new TextDecoder().decode(bytes)}Tom has 12 of 345.\n`);
}
