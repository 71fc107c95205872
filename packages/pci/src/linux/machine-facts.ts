import type { MachineTree } from "../topology/machine-tree.ts";
import type { PciFacts } from "./pci-platform.ts";

const AMD = 0x1022;
const IOMMU_CLASS = 0x0806;

/**
 * What a machine's functions tell of firmware: an AMD IOMMU among them means that there is an IVRS table. Of the peer decodes
 * of an old Intel PCH bytes tell (RCBA of 00:1f.0), decoded text does not.
 */
export function machineFacts(machine: MachineTree): PciFacts {
  const ivrs = machine.segments.some(({ functions }) =>
    functions.some(({ config }) => config.read16(0) === AMD && config.read16(0x0a) === IOMMU_CLASS),
  );
  return { ivrs };
}
