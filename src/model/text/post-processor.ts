import type { EspalierError } from '../../errors.ts';
import { asArray, asId, asObject, asText, invalidTokenizer, quoted } from './checks.ts';

/** Ids put around those of a text when special tokens are asked for. */
export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Published ones add a handful. A few bytes could name a list of ids again and again. */
const MOST = 1024;

const NOTHING: Frame = { before: [], after: [] };

/** What a tokenizer.json's post-processor adds to one text. @throws E_TOKENIZER_INVALID */
export function readPostProcessor(node: unknown): Frame {
  if (node === null || node === undefined) return NOTHING;
  const options = asObject(node, 'The post-processor');
  const { type } = options;
  switch (type) {
    case 'ByteLevel': // moves offsets only
      return NOTHING;
    case 'Sequence':
      return asArray(options['processors'], 'The list of post-processors')
        .map(readPostProcessor)
        .reduce(
          (all, next) => within({ before: [...next.before, ...all.before], after: [...all.after, ...next.after] }),
          NOTHING,
        );
    case 'BertProcessing':
    case 'RobertaProcessing':
      return { before: [idOf(options['cls'], 'cls')], after: [idOf(options['sep'], 'sep')] };
    case 'TemplateProcessing':
      return readTemplate(asArray(options['single'], 'The template'), options['special_tokens'] ?? {});
    default:
      throw invalidTokenizer(`The post-processor ${String(type)} is not supported.`);
  }
}

function within(frame: Frame): Frame {
  if (frame.before.length + frame.after.length > MOST) throw tooMany();
  return frame;
}

function tooMany(): EspalierError {
  return invalidTokenizer(`The post-processor adds more than ${MOST} tokens to a text.`);
}

function idOf(pair: unknown, what: string): number {
  const [text, id] = asArray(pair, `The post-processor’s ${what}`);
  asText(text, `The post-processor’s ${what}`);
  return asId(id, `The post-processor’s ${what}`);
}

function readTemplate(items: readonly unknown[], tokens: unknown): Frame {
  const special = asObject(tokens, 'The template’s special tokens');
  const before: number[] = [];
  const after: number[] = [];
  let texts = 0;
  for (const item of items) {
    const entry = asObject(item, 'A part of the template');
    if (entry['SpecialToken'] === undefined) {
      if (asObject(entry['Sequence'], 'A part of the template')['id'] !== 'A') {
        throw invalidTokenizer('The template for one text asks for a second one.');
      }
      texts++;
      continue;
    }
    const name = asText(asObject(entry['SpecialToken'], 'A special token of the template')['id'], 'A special token');
    if (!Object.hasOwn(special, name)) throw invalidTokenizer(`The template does not say what ${quoted(name)} is.`);
    const ids = asArray(asObject(special[name], `The template’s ${quoted(name)}`)['ids'], `The ids of ${quoted(name)}`);
    if (before.length + after.length + ids.length > MOST) throw tooMany();
    for (const id of ids) (texts === 0 ? before : after).push(asId(id, `The template’s ${quoted(name)}`));
  }
  if (texts !== 1) throw invalidTokenizer(`The template has ${texts} places for a text.`);
  return { before, after };
}
