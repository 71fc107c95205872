import type { Op } from "@iommu-lab/core";
import { preempt } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";

const COMMAND = 4;
const BUS_MASTER = 4;

/** Sets Bus Master Enable unless it is set. Source: Linux 7.2 `pci_set_master()`. */
export function* pciSetMaster(dev: PciDev): Op<void> {
  const command = dev.read16(COMMAND);
  if ((command & BUS_MASTER) === 0) {
    yield preempt;
    dev.write16(COMMAND, command | BUS_MASTER, "Command");
  }
}

/** Clears Bus Master Enable unless it is clear. Source: Linux 7.2 `pci_clear_master()`, `do_pci_disable_device()`. */
export function* pciClearMaster(dev: PciDev): Op<void> {
  const command = dev.read16(COMMAND);
  if ((command & BUS_MASTER) !== 0) {
    yield preempt;
    dev.write16(COMMAND, command & ~BUS_MASTER, "Command");
  }
}
