import type { Op, Pasid } from "@iommu-lab/core";
import { KernelError, withLock } from "@iommu-lab/core";
import { decideAts } from "./ats-decision.ts";
import { enableAtsAndPri, setDteEntry } from "./attachment.ts";
import { disableAts, disablePri, failureOf } from "./capabilities.ts";
import type { DeviceData } from "./device-data.ts";
import { updateGcr3 } from "./gcr3-table.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { DriverState } from "./state.ts";

/** PASID 0 stands for requests without one. Source: Linux 7.2 `is_pasid_valid()`. */
function isPasidValid(device: DeviceData, pasid: Pasid): boolean {
  return pasid > 0 && pasid < device.maxPasids;
}

/** Source: Linux 7.2 `is_pasid_enabled()`. */
function isPasidEnabled(device: DeviceData): boolean {
  return device.pasidEnabled && device.maxPasids > 0 && device.gcr3.table !== 0;
}

/** What a policy other than the shipped one may want after a PASID came. */
function* followPolicyOn(state: DriverState, device: DeviceData): Op<void> {
  const { domain, gcr3 } = device;
  if (domain === undefined) {
    return;
  }
  if (decideAts(state, device, "pasid-set", domain.type, gcr3.pasidCount) && !device.atsWanted) {
    yield* enableAtsAndPri(state, device, domain.svaCapable);
    if (device.atsEnabled) {
      yield* setDteEntry(state, device, domain);
    }
  }
}

/** What a policy other than the shipped one may want before a PASID goes. */
function* followPolicyOff(state: DriverState, device: DeviceData): Op<void> {
  const { domain, gcr3 } = device;
  const wanted = decideAts(state, device, "pasid-remove", domain?.type ?? "BLOCKED", gcr3.pasidCount - 1);
  if (wanted || domain === undefined || !device.atsEnabled) {
    return;
  }
  device.atsWanted = false;
  device.pageRequests = false;
  yield* disableAts(device);
  yield* disablePri(device);
  yield* setDteEntry(state, device, domain);
}

/**
 * Gives a PASID the page table of a process.
 *
 * Source: Linux 7.2 `iommu_sva_set_dev_pasid()`, `amd_iommu_set_gcr3()`.
 *
 * @param old what the PASID had; a replacement is not supported
 * @throws KernelError EOPNOTSUPP, EINVAL (PASID out of range or not enabled, no GCR3 table), ENOMEM
 */
export function* setPasid(
  state: DriverState,
  device: DeviceData,
  domain: ProtectionDomain,
  pasid: Pasid,
  root: number,
  old: unknown,
): Op<void> {
  if (old !== undefined) {
    throw new KernelError("EOPNOTSUPP", "iommu_sva_set_dev_pasid: a PASID's domain cannot be replaced");
  }
  if (!isPasidValid(device, pasid)) {
    throw new KernelError("EINVAL", `iommu_sva_set_dev_pasid: PASID ${pasid} is not below ${device.maxPasids}`);
  }
  if (!isPasidEnabled(device)) {
    throw new KernelError(
      "EINVAL",
      "iommu_sva_set_dev_pasid: PASIDs are off, or the RID's domain leaves no room for them",
    );
  }
  yield* withLock(domain.lock, function* () {
    yield* updateGcr3(state, device, pasid, root);
    device.gcr3.pasidCount += 1;
    domain.pasids.unshift({ device, pasid });
  });
  yield* followPolicyOn(state, device);
}

/** Source: Linux 7.2 `amd_iommu_clear_gcr3()`; its caller does not look at the errno. @throws KernelOops when the GCR3 table is gone */
export function* clearPasid(state: DriverState, device: DeviceData, pasid: Pasid): Op<void> {
  if ((yield* failureOf(updateGcr3(state, device, pasid, undefined))) === undefined) {
    device.gcr3.pasidCount -= 1;
  }
}

/**
 * Takes a PASID away. What the driver had no chance to clear is left as it is.
 *
 * Source: Linux 7.2 `amd_iommu_remove_dev_pasid()`, `amd_iommu_clear_gcr3()`.
 *
 * @throws KernelOops when the GCR3 table is gone
 */
export function* removePasid(state: DriverState, device: DeviceData, domain: ProtectionDomain, pasid: Pasid): Op<void> {
  const attached = domain.pasids.some((one) => one.device === device && one.pasid === pasid);
  if (!isPasidValid(device, pasid) || !attached) {
    return;
  }
  yield* followPolicyOff(state, device);
  yield* withLock(domain.lock, function* () {
    yield* clearPasid(state, device, pasid);
    domain.pasids.splice(
      domain.pasids.findIndex((one) => one.device === device && one.pasid === pasid),
      1,
    );
  });
}
