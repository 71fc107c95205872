import type { LayoutCodec } from "@iommu-lab/core";
import { iortCodec } from "./firmware/iort-codec.ts";

/** The layouts of this package by kind, for `iommu-lab decode` and `encode`. */
export const smmuv3Layouts: readonly LayoutCodec[] = [iortCodec];
