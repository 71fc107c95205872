import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import { blockingDomain, setGroupDomain, setGroupDomainNoFail } from "./attach.ts";
import type { Device } from "./device.ts";
import type { Group } from "./group.ts";
import type { CoreState } from "./state.ts";
import { groupOf, warn } from "./state.ts";

/**
 * A driver that uses the DMA API binds. Changes no domain.
 *
 * Source: Linux 7.2 `iommu_device_use_default_domain()`.
 *
 * @throws KernelError EPROBE_DEFER without a default domain, EBUSY when the group is owned or off its default domain
 */
export function* useDefaultDomain(state: CoreState, device: Device): Op<void> {
  const { group } = device;
  if (group === undefined) {
    return;
  }
  // eslint-disable-next-line require-yield
  yield* withLock(group.mutex, function* () {
    if (group.defaultDomain === undefined && state.rules.deferWithoutDefault) {
      throw new KernelError("EPROBE_DEFER", `group ${group.id} has no default domain yet`);
    }
    const moved = !isOnDefault(state, group) || group.owner !== undefined || group.pasids.size > 0;
    if (group.ownerCount > 0 && moved) {
      throw new KernelError("EBUSY", `group ${group.id} is not on its default domain`);
    }
    group.ownerCount += 1;
  });
}

/**
 * 6.1 takes any IDENTITY domain for the default one when that is IDENTITY. Source: Linux 6.1 `iommu_is_default_domain()`.
 */
function isOnDefault(state: CoreState, { domain, defaultDomain }: Group): boolean {
  const alike = state.rules.flows === "6.1" && domain?.type === "IDENTITY" && defaultDomain?.type === "IDENTITY";
  return domain === defaultDomain || alike;
}

/** The driver unbinds. Source: Linux 7.2 `iommu_device_unuse_default_domain()`. */
export function* unuseDefaultDomain(state: CoreState, device: Device): Op<void> {
  const { group } = device;
  if (group === undefined) {
    return;
  }
  // eslint-disable-next-line require-yield
  yield* withLock(group.mutex, function* () {
    if (group.ownerCount === 0 || group.pasids.size > 0) {
      warn(state, "iommu_device_unuse_default_domain", `group ${group.id}: no user, or PASIDs remain`);
      return;
    }
    group.ownerCount -= 1;
  });
}

/** Source: Linux 7.2 `__iommu_take_dma_ownership()`. */
function* takeOwnership(state: CoreState, group: Group, owner: string): Op<void> {
  if ((group.domain !== undefined && group.domain !== group.defaultDomain) || group.pasids.size > 0) {
    throw new KernelError("EBUSY", `group ${group.id} is not on its default domain`);
  }
  yield* setGroupDomain(state, group, blockingDomain(group), { mustSucceed: false, via: "owner" });
  group.owner = owner;
  group.ownerCount = 1;
  traceOwner(state, group);
}

function traceOwner(state: CoreState, group: Group): void {
  if (state.trace.active) {
    state.trace.emit("group:owner", { group: group.id, owner: group.owner ?? "", count: group.ownerCount });
  }
}

/**
 * A user (VFIO container) takes a whole group; it is on the blocking domain afterwards.
 *
 * Source: Linux 7.2 `iommu_group_claim_dma_owner()`.
 *
 * @throws KernelError EPERM when anybody uses it, EBUSY when it is off its default domain or a member is being reset,
 * EINVAL when a member has a direct region
 */
export function* claimGroup(state: CoreState, group: Group, owner: string): Op<void> {
  yield* withLock(group.mutex, function* () {
    if (group.ownerCount > 0) {
      throw new KernelError("EPERM", `group ${group.id} is in use`);
    }
    yield* takeOwnership(state, group, owner);
  });
}

/**
 * A user (iommufd, VFIO cdev) takes one device; the group is blocked by the first and counted by the next of the same
 * owner.
 *
 * Source: Linux 7.2 `iommu_device_claim_dma_owner()`.
 *
 * @throws KernelError EOPNOTSUPP where only groups can be claimed (6.1), EPERM, EBUSY, EINVAL
 */
export function* claimDevice(state: CoreState, device: Device, owner: string): Op<void> {
  if (!state.rules.deviceClaim) {
    throw new KernelError("EOPNOTSUPP", `${state.kernel.id} claims whole groups only`);
  }
  const group = groupOf(device);
  yield* withLock(group.mutex, function* () {
    if (group.ownerCount === 0) {
      yield* takeOwnership(state, group, owner);
      return;
    }
    if (group.owner !== owner) {
      throw new KernelError("EPERM", `group ${group.id} is in use`);
    }
    group.ownerCount += 1;
    traceOwner(state, group);
  });
}

/**
 * The owner lets go: the default domain is attached again. With PASIDs left it is a WARN and nothing else.
 *
 * Source: Linux 7.2 `iommu_group_release_dma_owner()`, `__iommu_release_dma_ownership()`.
 */
export function* releaseGroup(state: CoreState, group: Group): Op<void> {
  yield* withLock(group.mutex, () => dropOwnership(state, group));
}

/** The last of an owner's devices goes as {@link releaseGroup}. Source: `iommu_device_release_dma_owner()`. */
export function* releaseDevice(state: CoreState, device: Device): Op<void> {
  const group = groupOf(device);
  yield* withLock(group.mutex, function* () {
    if (group.ownerCount > 1) {
      group.ownerCount -= 1;
      traceOwner(state, group);
      return;
    }
    yield* dropOwnership(state, group);
  });
}

function* dropOwnership(state: CoreState, group: Group): Op<void> {
  if (group.ownerCount === 0 || group.owner === undefined || group.pasids.size > 0) {
    warn(state, "__iommu_release_dma_ownership", `group ${group.id}: no owner, or PASIDs remain`);
    return;
  }
  group.ownerCount = 0;
  group.owner = undefined;
  traceOwner(state, group);
  if (group.defaultDomain !== undefined) {
    yield* setGroupDomainNoFail(state, group, group.defaultDomain, "owner");
  }
}
