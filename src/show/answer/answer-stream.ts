import { EspalierError } from '../../errors.ts';
import type { GeneratedToken } from '../../model/generate/generation.ts';
import type { Answer, AnswerStream } from '../types.ts';

/** A stream of tokens that ends with an answer. @param begin makes the tokens, and calls `end` with the answer behind the last one */
export function answerStream(
  begin: (end: (answer: Answer) => void) => AsyncGenerator<GeneratedToken, void>,
): AnswerStream {
  let answer: Answer | null = null;
  const tokens = begin((done) => {
    answer = done;
  });
  return {
    [Symbol.asyncIterator]: () => tokens,
    answer: async () => {
      if (answer) return answer;
      for await (const _ of tokens);
      if (answer) return answer;
      throw new EspalierError(
        'E_ARGUMENT',
        'The stream was left before its end.',
        'Read it to its end, or call ask().',
      );
    },
  };
}
