import { EspalierError } from '../../errors.ts';

export function configInvalid(name: string, what: string, cause?: unknown): EspalierError {
  return new EspalierError(
    'E_CONFIG_INVALID',
    `${name}: ${what}.`,
    'Get the configuration that belongs to the weights.',
    {
      cause,
    },
  );
}

/** @param families names of what could stand there instead, where it is the family itself that is not known */
export function unsupported(name: string, what: string, families: readonly string[] = []): EspalierError {
  const hint =
    families.length > 0
      ? `Models of these architectures are computed: ${families.join(', ')}.`
      : 'Use a model without it; docs/formats.md says what is computed.';
  return new EspalierError('E_ARCHITECTURE_UNSUPPORTED', `${name}: ${what}.`, hint);
}
