import type { LayoutCodec } from "@iommu-lab/core";
import { commandCodec } from "./codecs/command-codec.ts";
import { cdCodec } from "./codecs/context-descriptor-codec.ts";
import { pteCodec } from "./codecs/pte-codec.ts";
import { eventCodec, priCodec } from "./codecs/record-codecs.ts";
import { steCodec } from "./codecs/stream-entry-codec.ts";
import { iortCodec } from "./firmware/iort-codec.ts";

/** The layouts of this package by kind, for `iommu-lab decode` and `encode`. */
export const smmuv3Layouts: readonly LayoutCodec[] = [
  steCodec,
  cdCodec,
  commandCodec,
  eventCodec,
  priCodec,
  pteCodec,
  iortCodec,
];
