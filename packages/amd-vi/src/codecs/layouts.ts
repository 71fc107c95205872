import type { LayoutCodec } from "@iommu-lab/core";
import { commandCodec } from "./command-codec.ts";
import { dteCodec } from "./dte-codec.ts";
import { eventCodec } from "./event-codec.ts";
import { ivrsCodec } from "./ivrs-codec.ts";
import { pprCodec } from "./ppr-codec.ts";
import { pteCodec } from "./pte-codec.ts";

/** The layouts of AMD-Vi that `iommu-lab decode` and `encode` know. */
export const amdviLayouts: readonly LayoutCodec[] = [dteCodec, commandCodec, eventCodec, pprCodec, pteCodec, ivrsCodec];
