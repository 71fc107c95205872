import type { Op } from "@iommu-lab/core";
import { KernelError, preempt, sleep } from "@iommu-lab/core";
import { EXT_CAP_ID_SRIOV } from "../config-space/extended-layouts.ts";
import type { PciDev } from "./pci-dev.ts";

const CAPABILITIES = 4;
const MIGRATION_CAPABLE = 1;
const CONTROL = 8;
const ENABLE_AND_MEMORY = 9;
const INITIAL_VFS = 0x0c;
const TOTAL_VFS = 0x0e;
const NUM_VFS = 0x10;
const ENABLE_NS = 100_000_000;
const DISABLE_NS = 1_000_000_000;

/** TotalVFs of a PF, as sysfs `sriov_totalvfs` shows it; 0 without the capability. */
export function pciSriovTotalVfs(dev: PciDev): number {
  const at = capabilityOf(dev);
  return at === 0 ? 0 : dev.read16(at + TOTAL_VFS);
}

/** NumVFs while VF Enable is 1, else 0. */
export function pciSriovNumVfs(dev: PciDev): number {
  const at = capabilityOf(dev);
  return at === 0 || (dev.read16(at + CONTROL) & 1) === 0 ? 0 : dev.read16(at + NUM_VFS);
}

function capabilityOf(dev: PciDev): number {
  return dev.isVirtfn ? 0 : dev.config.findExtendedCapability(EXT_CAP_ID_SRIOV);
}

/**
 * NumVFs, then VF Enable with VF MSE, then 100 ms for the VFs to come up.
 *
 * Source: Linux 7.2 `sriov_enable()`, without its checks of memory space.
 *
 * @throws KernelError EIO for InitialVFs that do not fit, EINVAL for more VFs than there are
 */
export function* pciEnableSriov(dev: PciDev, count: number): Op<void> {
  const at = capabilityOf(dev);
  const total = dev.read16(at + TOTAL_VFS);
  const initial = dev.read16(at + INITIAL_VFS);
  const migrates = (dev.read32(at + CAPABILITIES) & MIGRATION_CAPABLE) !== 0;
  if (initial > total || (!migrates && initial !== total)) {
    throw new KernelError("EIO", `${dev.name}: InitialVFs ${initial}, TotalVFs ${total}`);
  }
  if (count < 0 || count > total) {
    throw new KernelError("EINVAL", `${dev.name}: ${count} of ${total} VFs`);
  }
  yield preempt;
  dev.write16(at + NUM_VFS, count, "NumVFs");
  yield preempt;
  dev.write16(at + CONTROL, dev.read16(at + CONTROL) | ENABLE_AND_MEMORY, "SR-IOV Control");
  yield* sleep(ENABLE_NS);
}

/** VF Enable and VF MSE off, one second, then NumVFs = 0. The VFs are gone from the bus before. Source: Linux 7.2 `sriov_disable()`. */
export function* pciDisableSriov(dev: PciDev): Op<void> {
  const at = capabilityOf(dev);
  yield preempt;
  dev.write16(at + CONTROL, dev.read16(at + CONTROL) & ~ENABLE_AND_MEMORY, "SR-IOV Control");
  yield* sleep(DISABLE_NS);
  yield preempt;
  dev.write16(at + NUM_VFS, 0, "NumVFs");
}
