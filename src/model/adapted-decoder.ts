import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Precision } from '../device/device.ts';
import { joined, type LoadedAdapters, withAdapters, withTerms } from './adapters.ts';
import { Decoder } from './decoder.ts';
import { RoutedDecoder } from './routed/decoder.ts';
import type { DecoderWeights } from './weights.ts';

/**
 * A decoder with adapters, or none; it frees weights and adapters. Where experts of one act by position, those that act everywhere are part of
 * the model that experts are chosen by, too.
 */
export function adaptedDecoder(
  device: Device,
  config: ModelConfig,
  weights: DecoderWeights,
  loaded: LoadedAdapters | null,
  precision: Precision,
): Decoder {
  if (!loaded) return new Decoder(device, config, weights, precision);
  const { terms, routed, dispose } = loaded;
  if (!routed) return new Decoder(device, config, withAdapters(weights, loaded), precision);
  const base = new Decoder(device, config, terms.size > 0 ? withTerms(weights, terms) : weights, precision);
  const own = withAdapters(weights, { terms: joined(terms, routed.terms), dispose });
  // its tensors are freed with the others
  const router = { gate: routed.gate, rule: routed.rule, dispose: () => {} };
  return new RoutedDecoder(device, config, own, base, router, precision);
}
