import { amdviLayouts } from "@iommu-lab/amd-vi";
import { smmuv3Layouts } from "@iommu-lab/arm-smmuv3";
import { InputError, type LayoutCodec } from "@iommu-lab/core";
import { cxlLayouts } from "@iommu-lab/cxl";
import { vtdLayouts } from "@iommu-lab/intel-vtd";
import { pciLayouts } from "@iommu-lab/pci";

/** Every layout that `decode` and `encode` know. */
export const layouts: readonly LayoutCodec[] = [
  ...smmuv3Layouts,
  ...vtdLayouts,
  ...amdviLayouts,
  ...cxlLayouts,
  ...pciLayouts,
];

/**
 * The layout of a kind.
 *
 * @throws InputError for an unknown kind, with the nearest one
 */
export function layoutNamed(kind: string): LayoutCodec {
  const found = layouts.find((one) => one.kind === kind);
  if (found !== undefined) {
    return found;
  }
  const kinds = layouts.map((one) => one.kind);
  const near = kinds.filter((one) => one.includes(kind) || kind.includes(one));
  const hint = near.length === 0 ? "" : `; did you mean ${near.join(" or ")}?`;
  throw new InputError(`unknown layout ${JSON.stringify(kind)}: expected one of ${kinds.join(", ")}${hint}`);
}
