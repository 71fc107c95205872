import { amdvi } from "@iommu-lab/amd-vi";
import { smmuv3 } from "@iommu-lab/arm-smmuv3";
import { InputError } from "@iommu-lab/core";
import { vtd } from "@iommu-lab/intel-vtd";
import type { Backend } from "@iommu-lab/scenario";

/** The backends that the command knows, in the order of its tables. */
export const backends: readonly Backend[] = [
  {
    id: "arm-smmuv3",
    title: "Arm SMMUv3 with ATS, 20 SubstreamID bits",
    cmdline: "",
    doorbell: 0x8090,
    plugins: () => [smmuv3({ ats: true, ssidBits: 20 })],
  },
  {
    id: "intel-vtd:legacy",
    title: "Intel VT-d, legacy mode",
    cmdline: "intel_iommu=on,sm_off",
    plugins: () => [vtd({ mode: "legacy" })],
  },
  {
    id: "intel-vtd:scalable",
    title: "Intel VT-d, scalable mode, first stage",
    cmdline: "intel_iommu=on,sm_on",
    plugins: () => [vtd({ mode: "scalable" })],
  },
  {
    id: "amd-vi",
    title: "AMD-Vi with GT, PPR, GIoSup, EPHSup",
    cmdline: "",
    plugins: () => [amdvi()],
  },
];

/**
 * The backends with these names; a name before the colon (`intel-vtd`) stands for all its modes.
 *
 * @throws InputError for an unknown name
 */
export function backendsNamed(names: readonly string[]): readonly Backend[] {
  if (names.length === 0) {
    return backends;
  }
  return names.flatMap((name) => {
    const found = backends.filter(({ id }) => id === name || id.split(":")[0] === name);
    if (found.length === 0) {
      throw new InputError(
        `unknown backend ${JSON.stringify(name)}: expected one of ${backends.map(({ id }) => id).join(", ")}`,
      );
    }
    return found;
  });
}
