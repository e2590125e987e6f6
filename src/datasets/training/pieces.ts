/**
 * Where a long text is cut: after about `length` characters, behind the last line end in them, else before the last space, else between two
 * characters. Ends of the pieces, the last one the text's own.
 */
export function cutText(text: string, length: number): number[] {
  const ends: number[] = [];
  let from = 0;
  while (from + length < text.length) {
    let end = from + length;
    const line = text.lastIndexOf('\n', end - 1);
    const space = text.lastIndexOf(' ', end);
    if (line > from) end = line + 1;
    else if (space > from) end = space;
    // a character of two units stays whole
    else if (/[\udc00-\udfff]/.test(text[end]!) && end > from + 1) end--;
    ends.push(end);
    from = end;
  }
  ends.push(text.length);
  return ends;
}
