import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import { attachDevice, blockingDomain } from "./attach.ts";
import type { Device } from "./device.ts";
import type { Group, GroupDevice } from "./group.ts";
import { setDevicePasid } from "./pasid.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, warn } from "./state.ts";
import type { Domain } from "./types.ts";

function pasidsInOrder(pasids: ReadonlyMap<number, unknown>): number[] {
  return [...pasids.keys()].toSorted((a, b) => a - b);
}

/**
 * Parks a function on the blocking domain before it is reset: RID first, then its PASIDs. `group->domain` and the
 * PASID table keep what they held. Does nothing for a function without usable ATS, and before 7.2.
 *
 * Source: Linux 7.2 `pci_dev_reset_iommu_prepare()`.
 *
 * @throws KernelError ENODEV, or the driver's answer to the blocking attach
 */
export function* resetPrepare(state: CoreState, device: Device): Op<void> {
  const { group } = device;
  if (!state.rules.resetStaging || !device.bus.atsSupported() || group === undefined || device.iommu === undefined) {
    return;
  }
  const iommu = device.iommu;
  yield* withLock(group.mutex, function* () {
    const member = group.member(device);
    if (member === undefined) {
      warn(state, "pci_dev_reset_iommu_prepare", `${device.name} is not in its group`);
      throw new KernelError("ENODEV", device.name);
    }
    member.resetDepth += 1;
    if (state.trace.active) {
      state.trace.emit("reset:prepare", { device: device.name, depth: member.resetDepth });
    }
    if (member.resetDepth > 1) {
      return;
    }
    try {
      const blocking = blockingDomain(group);
      if (group.domain !== blocking) {
        yield* attachDevice(state, device, blocking, group.domain, "reset");
      }
      member.blocked = true;
    } catch (error) {
      member.resetDepth -= 1;
      throw error;
    }
    const blocked = iommu.driver.blocked;
    if (iommu.maxPasids > 0 && blocked !== undefined) {
      for (const pasid of pasidsInOrder(group.pasids)) {
        try {
          yield* setDevicePasid(state, device, pasid, blocked, group.pasids.get(pasid));
        } catch (error) {
          warn(state, "pci_dev_reset_iommu_prepare", errnoOf(error).message);
        }
      }
    }
    group.recoveryCount += 1;
    tellHooks(state, device, "prepare");
  });
}

function tellHooks(state: CoreState, device: Device, phase: "prepare" | "done"): void {
  for (const hook of state.hooks) {
    hook.reset?.(device, phase);
  }
}

/**
 * Attaches what the group holds now to the function again: RID first, then PASIDs. Failures only warn, and `blocked` is
 * cleared all the same.
 *
 * Source: Linux 7.2 `pci_dev_reset_iommu_done()`.
 */
export function* resetDone(state: CoreState, device: Device): Op<void> {
  const { group } = device;
  if (!state.rules.resetStaging || !device.bus.atsSupported() || group === undefined || device.iommu === undefined) {
    return;
  }
  yield* withLock(group.mutex, function* () {
    const member = group.member(device);
    if (member === undefined || member.resetDepth === 0) {
      warn(state, "pci_dev_reset_iommu_done", `${device.name} was not prepared`);
      return;
    }
    member.resetDepth -= 1;
    if (state.trace.active) {
      state.trace.emit("reset:done", { device: device.name, depth: member.resetDepth });
    }
    if (member.resetDepth === 0) {
      yield* unstage(state, group, member);
      tellHooks(state, device, "done");
    }
  });
}

function* unstage(state: CoreState, group: Group, member: GroupDevice): Op<void> {
  const { device } = member;
  const blocking = group.blockingDomain;
  if (blocking === undefined) {
    warn(state, "pci_dev_reset_iommu_done", `group ${group.id} has no blocking domain`);
    return;
  }
  const alias = group.members.find(
    (other) => other !== member && other.blocked && other.device.bus.sharesAlias(device.bus),
  );
  if (alias !== undefined) {
    warn(state, "pci_dev_reset_iommu_done", `DMA-aliased sibling ${alias.device.name} may be unblocked too early`);
  }
  if (group.domain !== undefined && group.domain !== blocking) {
    try {
      yield* attachDevice(state, device, group.domain, blocking, "reset");
    } catch (error) {
      warn(state, "pci_dev_reset_iommu_done", errnoOf(error).message);
    }
  }
  member.blocked = false;
  yield* restorePasids(state, group, device, blocking);
  if (group.recoveryCount === 0) {
    warn(state, "pci_dev_reset_iommu_done", `group ${group.id} was not recovering`);
  } else {
    group.recoveryCount -= 1;
  }
}

function* restorePasids(state: CoreState, group: Group, device: Device, blocking: Domain): Op<void> {
  if (device.iommu === undefined || device.iommu.maxPasids === 0) {
    return;
  }
  for (const pasid of pasidsInOrder(group.pasids)) {
    const domain = group.pasids.get(pasid);
    if (domain === undefined) {
      continue;
    }
    try {
      yield* setDevicePasid(state, device, pasid, domain, blocking);
    } catch (error) {
      warn(state, "pci_dev_reset_iommu_done", errnoOf(error).message);
    }
  }
}
