import type { Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { pciEnablePri, pciResetPri } from "@iommu-lab/pci";
import { type AtsControl, PAGE_REQUESTS } from "./ats-control.ts";
import type { DeviceInfo } from "./device-info.ts";
import { flipPageRequests } from "./scalable-context.ts";

/**
 * A device driver asked for page requests: PRE in the context entry, then PRI Enable.
 *
 * Source: Linux 6.12 `intel_iommu_enable_iopf()`.
 *
 * @throws KernelError ENODEV while ATS is off or page requests are impossible, EBUSY when they are on, EINVAL when responses
 * would carry a PASID that the device does not take; what the PRI capability answers
 */
export function* enablePageRequests(info: DeviceInfo, ats: AtsControl): Op<void> {
  const { name } = info.device;
  if (!info.atsEnabled || !info.priSupported) {
    throw new KernelError("ENODEV", `page requests of ${name} need ATS on, and PRI in device and unit`);
  }
  if (info.priEnabled) {
    throw new KernelError("EBUSY", `page requests of ${name} are on`);
  }
  if (ats.refusesPri(info)) {
    throw new KernelError("EINVAL", `${name} takes no PASID in page responses`);
  }
  yield* pciResetPri(info.dev);
  yield* flipPageRequests(info, true);
  try {
    yield* pciEnablePri(info.dev, PAGE_REQUESTS);
  } catch (error) {
    yield* flipPageRequests(info, false);
    throw error;
  }
  info.priEnabled = true;
  info.faultUsers += 1;
}

/** Source: Linux 6.12 `intel_iommu_disable_iopf()`. @throws KernelError EINVAL when page requests are off */
export function* disablePageRequests(info: DeviceInfo, ats: AtsControl): Op<void> {
  if (!info.priEnabled) {
    throw new KernelError("EINVAL", `page requests of ${info.device.name} are off`);
  }
  yield* flipPageRequests(info, false);
  info.faultUsers -= 1;
  yield* ats.disablePri(info);
}
