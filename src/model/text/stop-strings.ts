import { EspalierError } from '../../errors.ts';

/** What a piece of text lets out. */
export interface StopResult {
  /** Text that is certainly no part of a stop string. */
  readonly text: string;
  /** The stop string that ended the text, or null while it goes on. */
  readonly stop: string | null;
}

/**
 * Watches text that arrives in pieces for strings that end it. A stop string may lie across pieces, so an end that could
 * still become one is held back; the stop string itself and what follows it are not let out.
 *
 * The stop string that begins first wins; of those that begin together, the shortest. So the result does not depend on how
 * the text is cut into pieces.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #stopped: string | null = null;

  /** @throws E_ARGUMENT when a stop string is empty or no string */
  constructor(stops: readonly string[]) {
    for (const stop of stops) {
      if (typeof stop === 'string' && stop !== '') continue;
      throw new EspalierError('E_ARGUMENT', 'A stop string is empty.', 'Give texts of at least one character.');
    }
    this.#stops = [...new Set(stops)];
  }

  /** The stop string that was found, or null. */
  get stopped(): string | null {
    return this.#stopped;
  }

  /** Takes the next piece. After a stop nothing is let out any more. */
  push(piece: string): StopResult {
    return this.#scan(this.#held + piece, true);
  }

  /** Lets out what was held back, when the text ends here. A stop string may still be found in it. */
  end(): StopResult {
    return this.#scan(this.#held, false);
  }

  #scan(text: string, mayGoOn: boolean): StopResult {
    this.#held = '';
    if (this.#stopped !== null) return { text: '', stop: this.#stopped };
    for (let at = 0; at < text.length; at++) {
      let found: string | null = null;
      let open = false;
      for (const stop of this.#stops) {
        if (text.startsWith(stop, at)) {
          if (found === null || stop.length < found.length) found = stop;
        } else if (at + stop.length > text.length && stop.startsWith(text.slice(at))) open = true;
      }
      if (found !== null) {
        this.#stopped = found;
        return { text: text.slice(0, at), stop: found };
      }
      if (open && mayGoOn) {
        this.#held = text.slice(at);
        return { text: text.slice(0, at), stop: null };
      }
    }
    return { text, stop: null };
  }
}
