/** What is told of a problem with a model: throws it, or keeps it and returns, to hear of the next. */
export type Report = (problem: unknown) => void;

/** The usual one: the first problem is the end. */
export const raise: Report = (problem) => {
  throw problem;
};
