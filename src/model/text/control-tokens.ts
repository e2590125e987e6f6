import { tokenize } from '../template/lexer.ts';
import { TemplateSyntaxError } from '../template/nodes.ts';
import type { AddedToken } from './added-tokens.ts';
import { asArray, asText, invalidTokenizer, type Json } from './checks.ts';
import { Trie } from './trie.ts';

/**
 * Ids of the tokens that frame a conversation, as transformers counts them (`sanitize_control_tokens`): special ones, and of the others
 * those that tokenizer_config.json lists (`chat_control_tokens`), or else those that the templates write. Many models' turns begin with a
 * token that is not special.
 *
 * @param templates Jinja sources
 * @throws E_TOKENIZER_INVALID when the list is none, or the tokens begin alike and looking for them takes too many steps
 */
export function controlTokens(
  added: readonly AddedToken[],
  config: Json,
  templates: readonly string[],
): ReadonlySet<number> {
  const others = added.filter((token) => !token.special);
  const listed = config['chat_control_tokens'] ?? null;
  const written = listed === null ? writtenIn(templates, others) : new Set(textsOf(listed));
  const isControl = ({ special, content }: AddedToken) => special || written.has(content);
  return new Set(added.filter(isControl).map(({ id }) => id));
}

function textsOf(listed: unknown): string[] {
  const what = 'tokenizer_config.json: chat_control_tokens';
  return asArray(listed, what).map((text) => asText(text, what));
}

/** The texts of tokens that stand in templates or in string literals of them; not spaces, which they hold as ordinary text. */
function writtenIn(templates: readonly string[], tokens: readonly AddedToken[]): ReadonlySet<string> {
  const found = new Set<string>();
  const trie = new Trie();
  tokens.forEach(({ content }, i) => {
    if (content.trim() !== '') trie.insert(content, i);
  });
  for (const text of templates.flatMap(literals)) {
    let steps = 64 * text.length + 10_000_000;
    for (let start = 0; start < text.length; start++) {
      let node = 0;
      for (let i = start; i < text.length; i++) {
        node = trie.child(node, text.charCodeAt(i));
        if (node === 0) break;
        if (--steps < 0) {
          throw invalidTokenizer('The tokenizer’s added tokens begin alike, and finding them takes too many steps.');
        }
        const token = trie.valueOf(node);
        if (token >= 0) found.add(tokens[token]!.content);
      }
    }
  }
  return found;
}

function literals(template: string): string[] {
  try {
    return tokenize(template).flatMap(({ type, text }) => (type === 'data' || type === 'string' ? text : []));
  } catch (error) {
    if (error instanceof TemplateSyntaxError) return []; // it renders nothing either
    throw error;
  }
}
