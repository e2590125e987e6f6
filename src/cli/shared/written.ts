import { EspalierError } from '../../errors.ts';
import { type Rule, refusal } from '../../options/rules.ts';

/**
 * How a value that is an object or a list in a program is written at the command line.
 * @param takes for messages
 * @param read what a text means; what `rule` refuses is refused as it was written
 */
export function written<T>(rule: Rule<T>, takes: string, read: (text: string) => unknown): Rule<T> {
  return {
    takes,
    parse: (text) => text,
    check: (text, name) => {
      try {
        return rule.check(read(String(text)), name);
      } catch (error) {
        if (!(error instanceof EspalierError)) throw error;
        throw refusal(name, text, takes);
      }
    },
  };
}

/** NaN, which no rule takes, for what is no number. */
export const number = (text: string | undefined): number =>
  text === undefined || text.trim() === '' ? Number.NaN : Number(text);
