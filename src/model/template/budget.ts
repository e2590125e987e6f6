/** A template has used up what it may: named so that no `except` of the interpreted language swallows it. */
export class BudgetError extends Error {
  override readonly name = 'BudgetError';
}

/** Operations that every template may take, whatever the conversation. */
const STEPS = 2_000_000;
/** More for each character and each value of the conversation: some templates walk over all messages for each one. */
const STEPS_PER_CHARACTER = 8;
const STEPS_PER_VALUE = 4_000;
const MOST_STEPS = 60_000_000;
/** Characters that one string may have. */
const TEXT = 8 << 20;
const TEXT_PER_CHARACTER = 8;
const MOST_TEXT = 256 << 20;
/** Characters that cost as much as one operation. */
const CHARACTERS_A_STEP = 16;

/**
 * How much a template may still compute. One step is an expression, a statement, a round of a loop, an element of a list, or 16
 * characters of a string that is read or written: some 50 to 200 nanoseconds. What is allowed grows with the conversation.
 */
export class Budget {
  readonly #steps: number;
  readonly #text: number;
  #left: number;

  /** @param characters of the conversation and the template  @param values of the conversation: lists, objects and texts */
  constructor(characters: number, values: number) {
    const wanted = STEPS + STEPS_PER_CHARACTER * characters + STEPS_PER_VALUE * values;
    this.#steps = this.#left = Math.min(MOST_STEPS, wanted);
    this.#text = Math.min(MOST_TEXT, TEXT + TEXT_PER_CHARACTER * characters);
  }

  /** @throws BudgetError */
  step(count = 1): void {
    this.#left -= count;
    if (this.#left < 0) throw new BudgetError(`it takes more than its budget of ${this.#steps} steps`);
  }

  /** Whether a string may have so many characters. @throws BudgetError */
  fits(length: number): void {
    if (length > this.#text) throw new BudgetError(`a text in it exceeds the budget of ${this.#text} characters`);
  }

  /** Pays for reading or writing a string of so many characters. @throws BudgetError */
  text(length: number): void {
    this.fits(length);
    this.step(1 + length / CHARACTERS_A_STEP);
  }

  /** Pays for a list of so many elements. @throws BudgetError */
  elements(count: number): void {
    this.step(1 + count);
  }
}
