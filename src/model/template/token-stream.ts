/** The tokens of a template, one at a time. */
import type { Token, TokenType } from './lexer.ts';
import { TemplateSyntaxError } from './nodes.ts';

/** Nesting of tags, brackets, calls and unary operators; Python's own parser gives up at some 75. */
const DEEPEST = 100;

/** What a parser does with tokens. */
export class TokenStream {
  readonly #tokens: readonly Token[];
  #place = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  protected get current(): Token {
    return this.#tokens[this.#place]!;
  }

  protected look(): Token {
    return this.#tokens[Math.min(this.#place + 1, this.#tokens.length - 1)]!;
  }

  protected next(): Token {
    const token = this.current;
    if (token.type !== 'eof') this.#place++;
    return token;
  }

  protected is(type: TokenType, text?: string): boolean {
    const token = this.current;
    return token.type === type && (text === undefined || token.text === text);
  }

  protected isOperator(text: string): boolean {
    return this.is('operator', text);
  }

  protected isName(text: string): boolean {
    return this.is('name', text);
  }

  protected skipIf(type: TokenType, text: string): boolean {
    if (!this.is(type, text)) return false;
    this.next();
    return true;
  }

  protected expect(type: TokenType, text?: string): Token {
    if (!this.is(type, text)) {
      const wanted = text ?? type.replace('_', ' ');
      if (this.is('eof')) this.fail(`unexpected end of template, expected '${wanted}'`);
      this.fail(`expected '${wanted}', got '${this.current.text || this.current.type}'`);
    }
    return this.next();
  }

  protected fail(message: string, line = this.current.line): never {
    throw new TemplateSyntaxError(message, line);
  }

  /** Runs one level of nesting deeper. */
  protected deeper<T>(body: () => T): T {
    if (++this.#depth > DEEPEST) this.fail(`nested more than ${DEEPEST} deep`);
    const result = body();
    this.#depth--;
    return result;
  }
}
