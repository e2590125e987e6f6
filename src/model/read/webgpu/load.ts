/** The way to what embeds several texts at once on a device: with what else only a GPU needs (device/webgpu/load.ts). */
export function loadEmbedding(): Promise<typeof import('./embed.ts')> {
  return import('./embed.ts');
}
