import type { Device } from "@iommu-lab/core";
import { pciDev } from "@iommu-lab/pci";
import type { DeviceSnapshot } from "./expectation.ts";
import { formatWord } from "./mask.ts";
import { typeOf } from "./plan.ts";

/** One device of the model: what its config space holds, and what the kernel holds of its group. */
export function modelSnapshot(device: Device, tables: DeviceSnapshot["tables"]): DeviceSnapshot {
  const { config, hasResetFiles, resetMethods } = pciDev(device);
  const control = (id: number, offset: number): number | undefined => {
    const at = config.findExtendedCapability(id);
    return at === 0 ? undefined : config.read16(at + offset);
  };
  return {
    driver: device.driver?.name ?? "none",
    group: new Set(device.group?.members.map((member) => member.device.name)),
    type: device.group === undefined ? "none" : typeOf(device.group),
    reserved: new Set(device.group?.members.flatMap((member) => reservedOf(member.device))),
    // Control registers. Source: PCIe 6.0 §10.5.1.3, §7.8.9.3, §10.5.2.2, §7.7.11.3.
    ats: control(0x0f, 6),
    pasid: control(0x1b, 6),
    pri: control(0x13, 4),
    acs: control(0x0d, 6),
    resetMethods: hasResetFiles ? resetMethods.join(" ") : "none",
    tables,
  };
}

/** As sysfs prints a group's `reserved_regions`. Source: Linux 7.2 `iommu_group_show_resv_regions()`. */
function reservedOf(device: Device): string[] {
  return (device.iommu?.driver.reservedRegions(device) ?? []).map(
    ({ page, count, type }) =>
      `${formatWord(BigInt(page) * 4096n)} ${formatWord(BigInt(page + count) * 4096n - 1n)} ${type === "sw-msi" ? "msi" : type}`,
  );
}
