import type { Plugin } from 'esbuild';

export declare const gpuApart: Plugin;
