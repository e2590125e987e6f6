/** A token's text for people: control characters but line ends and tabs, and halves of surrogate pairs, are replacement characters. */
export function visibleText(text: string): string {
  return text.replace(/[^\P{Cc}\n\r\t]|[\ud800-\udfff]/gu, '\ufffd');
}
