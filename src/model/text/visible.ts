/** Text for people: control characters but line ends and tabs, and halves of surrogate pairs, are replacement characters. */
export function visibleText(text: string): string {
  return text.replace(/[^\P{Cc}\n\r\t]|[\ud800-\udfff]/gu, '\ufffd');
}

/** The same of a name, which files may say: on one line, and in the direction of what is around it. */
export function visibleName(name: string): string {
  return visibleText(name).replace(/[\n\r\t\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}
