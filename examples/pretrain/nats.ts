import type { LocalModel } from '../../src/model/model.ts';

/** Texts that are scored together. */
const AT_ONCE = 64;

/** The loss of a model on texts, in nats a token: the mean over all tokens of all texts but the begin token. The end token is not among them. */
export async function natsPerToken(model: LocalModel, texts: readonly string[]): Promise<number> {
  const most = model.config.maxPositions;
  let sum = 0;
  let count = 0;
  for (let i = 0; i < texts.length; i += AT_ONCE) {
    const some = texts.slice(i, i + AT_ONCE).map((text) => model.encode(text).slice(0, most));
    for (const { logprob } of (await model.scoreBatch(some)).flat()) {
      // nothing predicts the first
      if (logprob === null) continue;
      sum -= logprob;
      count++;
    }
  }
  return sum / count;
}
