/** Examples with labels that their words tell, as lines of JSON; no two inputs are the same. */
export function animalsAndNumbers(): string {
  const words = {
    animal: ['cat', 'dog', 'bird', 'fish', 'horse', 'mouse'],
    number: ['one', 'two', 'three', 'four', 'five', 'six'],
    colour: ['red', 'blue', 'green', 'black', 'white', 'brown'],
  };
  const frames = ['I see {}', 'do I see {} ?', 'now I see {} too', 'what I see is {}'];
  return frames
    .flatMap((frame) =>
      Object.entries(words).flatMap(([label, list]) =>
        list.map((word) => JSON.stringify({ input: frame.replace('{}', word), label })),
      ),
    )
    .join('\n');
}
