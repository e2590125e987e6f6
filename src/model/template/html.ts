/** Texts that are marked as safe HTML: markupsafe's `escape`. */
import type { Budget } from './budget.ts';
import { Str, TextBuilder } from './text.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

/** A text as HTML; one that is marked as safe stays as it is. */
export function escapeHtml(work: Budget, text: Str): Str {
  if (text.markup) return text;
  work.text(text.text.length);
  const to = new TextBuilder(work);
  let copied = 0;
  for (const { 0: character, index } of text.text.matchAll(/[&<>"']/g)) {
    to.push(text.cut(copied, index));
    const entity = ENTITIES[character]!;
    to.push(text.cut(index, index + 1).fromCaller ? Str.caller(entity) : entity);
    copied = index + 1;
  }
  return to.push(text.cut(copied)).done().marked(true);
}
