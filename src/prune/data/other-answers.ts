import type { SequenceEncoder } from '../../datasets/training/encode.ts';
import type { PlacedExample, TrainingExample, TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError } from '../../errors.ts';

/**
 * The sequences of an example with each of other texts in the place of its answer, such as "I don't know." for IdkDPO: behind the white space that the
 * answer begins with, or as the last message of a conversation.
 * @returns a sequence for each text
 * @throws E_ARGUMENT for no text; E_DATA_INVALID with file and line for an example that does not end in one answer; as `SequenceEncoder.encode`
 */
export async function otherAnswers(
  encoder: SequenceEncoder,
  { example, place }: PlacedExample,
  texts: readonly string[],
): Promise<TrainingSequence[]> {
  if (texts.length === 0) throw new EspalierError('E_ARGUMENT', 'There are no other answers.', 'Give one or more.');
  const list: TrainingSequence[] = [];
  for (const text of texts) {
    const sequences = await encoder.encode({ example: answered(example, place, text), place });
    if (sequences.length !== 1) refuse(place, 'is too long with another answer');
    list.push(sequences[0]!);
  }
  return list;
}

function answered(example: TrainingExample, place: string, text: string): TrainingExample {
  switch (example.kind) {
    case 'pair':
      return { ...example, answer: /^\s*/.exec(example.answer)![0] + text };
    case 'chat': {
      const { messages } = example;
      const last = messages.at(-1);
      const answers = messages.filter(({ role }) => role === 'assistant').length;
      if (last?.role !== 'assistant' || answers !== 1) refuse(place, `has ${answers} answers`);
      return { ...example, messages: [...messages.slice(0, -1), { ...last, content: text }] };
    }
    case 'text':
      return refuse(place, 'is plain text, and answers nothing');
    default:
      return example satisfies never;
  }
}

function refuse(place: string, what: string): never {
  throw new EspalierError('E_DATA_INVALID', `${place}: the example ${what}.`, 'Give prompts with one answer each.');
}
