import type { LayoutCodec } from "@iommu-lab/core";
import { dmarCodec } from "../firmware/dmar-codec.ts";
import { descriptorCodec } from "./descriptor-codec.ts";
import { entryCodecs } from "./entry-codecs.ts";
import { faultCodec } from "./fault-codec.ts";
import { pteCodec } from "./pte-codec.ts";

/** The layouts of VT-d for `iommu-lab decode` and `encode`. */
export const vtdLayouts: readonly LayoutCodec[] = [...entryCodecs, descriptorCodec, faultCodec, pteCodec, dmarCodec];
