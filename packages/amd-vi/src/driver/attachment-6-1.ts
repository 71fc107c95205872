import { type Op, KernelError, withLock } from "@iommu-lab/core";
import { decideAts } from "./ats-decision.ts";
import { clearDteEntry, writeDteEntry } from "./attachment.ts";
import { disableAts, enableAts } from "./capabilities.ts";
import type { DeviceData } from "./device-data.ts";
import { flushDomain } from "./invalidation.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { DriverState } from "./state.ts";

/**
 * Binds a device to a domain, also to the one it is bound to, through the blocked state.
 *
 * Source: Linux 6.1 `amd_iommu_attach_device()`.
 *
 * @throws KernelError EBUSY
 */
export function* attachDomain61(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  if (device.domain !== undefined) {
    yield* detachDevice61(state, device);
  }
  yield* attachDevice61(state, device, domain);
  yield* device.unit.completionWait();
}

/**
 * ATS, then the DTE, then everything that was cached of the domain.
 *
 * Source: Linux 6.1 `attach_device()`, `do_attach()`.
 */
function* attachDevice61(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  yield* withLock(domain.lock, function* () {
    if (device.domain !== undefined) {
      throw new KernelError("EBUSY", `${device.function.name} is attached already`);
    }
    // Before the device counts as bound: what a decision says is about the domain it comes to.
    const wanted = decideAts(state, device, "rid-attach", domain.type, 0);
    if (wanted) {
      yield* enableAts(device);
    }
    device.domain = domain;
    domain.devices.unshift(device);
    domain.attachUnit(device.unit);
    yield* writeDteEntry(state, device, domain);
    yield* flushDomain("attach-6.1", domain, state.npCache);
  });
}

/**
 * The DTE first, then the device's ATC while ATS is still on, then the domain, then ATS off.
 *
 * Source: Linux 6.1 `detach_device()`, `do_detach()`.
 */
export function* detachDevice61(state: DriverState, device: DeviceData): Op<void> {
  const { domain } = device;
  if (domain === undefined) {
    state.warn("detach_device", `${device.function.name} is not attached`);
    return;
  }
  yield* withLock(domain.lock, function* () {
    device.domain = undefined;
    domain.devices.splice(domain.devices.indexOf(device), 1);
    yield* clearDteEntry(state, device);
    yield* flushDomain("detach-6.1", domain, state.npCache);
    domain.detachUnit(device.unit);
    yield* disableAts(device);
  });
}
