import type { KernelError } from "../sim/errors.ts";
import { KernelError as Failure } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import type { Group } from "./group.ts";
import type { CoreState } from "./state.ts";
import { domainName, errnoOf, groupOf, iommuOf, warn } from "./state.ts";
import type { Domain } from "./types.ts";

/** Flags of a group's domain change. */
export interface SetDomainOptions {
  /** `IOMMU_SET_DOMAIN_MUST_SUCCEED`: members that fail go to the blocking domain, the others continue. */
  readonly mustSucceed: boolean;
  /** Which flow asks, for the trace: `default`, `deferred`, `owner`, `user`, `core`, `reset`, `release`, `join`. */
  readonly via: string;
}

/**
 * Calls the driver's attach and traces its answer. Checks nothing.
 *
 * Source: Linux 7.2 `__iommu_attach_device()`.
 */
export function* attachDevice(
  state: CoreState,
  device: Device,
  domain: Domain,
  old: Domain | undefined,
  via: string,
): Op<void> {
  const { trace } = state;
  const told = state.rules.tellsOldDomain ? old : undefined;
  const id = trace.active
    ? trace.emit("domain:attach", {
        device: device.name,
        domain: domainName(domain),
        domainType: domain.type,
        old: domainName(told),
        via,
      })
    : 0;
  trace.enter(id);
  let result = "0";
  try {
    for (const hook of state.hooks) {
      hook.attach?.(device, domain, old);
    }
    yield* domain.attach(device, told);
    iommuOf(device).attachDeferred = false;
  } catch (error) {
    result = error instanceof Failure ? error.errno : "oops";
    throw error;
  } finally {
    if (trace.active) {
      trace.emit("domain:attached", { device: device.name, domain: domainName(domain), result });
    }
    trace.leave();
  }
}

/**
 * Changes the RID domain of one member. The caller holds the group's mutex.
 *
 * Source: Linux 7.2 `__iommu_device_set_domain()`.
 *
 * @throws KernelError EINVAL when a member with a direct region would be blocked; the driver's errno
 */
export function* setDeviceDomain(
  state: CoreState,
  group: Group,
  device: Device,
  domain: Domain,
  old: Domain | undefined,
  options: SetDomainOptions,
): Op<void> {
  const iommu = iommuOf(device);
  if (iommu.requireDirect && (domain.type === "BLOCKED" || domain === group.blockingDomain)) {
    warn(
      state,
      "__iommu_device_set_domain",
      `firmware has requested that ${device.name} retain its boot time mappings: it cannot be blocked`,
    );
    throw new Failure("EINVAL", `${device.name} has a direct region and cannot be blocked`);
  }
  if (iommu.attachDeferred) {
    if (domain === group.defaultDomain) {
      return;
    }
    iommu.attachDeferred = false;
  }
  try {
    yield* attachDevice(state, device, domain, old, options.via);
  } catch (error) {
    const failure = errnoOf(error);
    if (options.mustSucceed && group.blockingDomain !== undefined && group.blockingDomain !== domain) {
      try {
        yield* attachDevice(state, device, group.blockingDomain, old, options.via);
      } catch (second) {
        errnoOf(second);
      }
    }
    throw failure;
  }
}

/**
 * Attaches a domain to every member of a group, in list order. The caller holds the group's mutex.
 *
 * Not atomic: members change one after another. Without `mustSucceed` the members already switched are attached back
 * after a failure; the failing member is its driver's duty.
 *
 * Source: Linux 7.2 `__iommu_group_set_domain_internal()`.
 *
 * @throws KernelError EBUSY while a member is staged for reset; the driver's errno
 */
export function* setGroupDomain(state: CoreState, group: Group, domain: Domain, options: SetDomainOptions): Op<void> {
  if (group.domain === domain) {
    return;
  }
  if (state.rules.flows === "6.1") {
    yield* attachEach(state, group, domain, options.via);
    return;
  }
  if (group.recoveryCount > 0 && !options.mustSucceed) {
    throw new Failure("EBUSY", `a member of group ${group.id} is being reset`);
  }
  let failure: KernelError | undefined;
  for (const [index, member] of group.members.entries()) {
    if (member.blocked) {
      continue;
    }
    try {
      yield* setDeviceDomain(state, group, member.device, domain, group.domain, options);
    } catch (error) {
      failure = errnoOf(error);
      if (!options.mustSucceed) {
        yield* revert(state, group, state.rules.revertFailing ? index + 1 : index, domain, options.via);
        throw failure;
      }
    }
  }
  group.domain = domain;
  if (failure !== undefined) {
    throw failure;
  }
}

/** Attaches each member until one fails; nothing is attached back. Source: Linux 6.1 `__iommu_group_set_domain()`. */
function* attachEach(state: CoreState, group: Group, domain: Domain, via: string): Op<void> {
  for (const { device } of group.members) {
    yield* attachDevice(state, device, domain, group.domain, via);
  }
  group.domain = domain;
}

/** Attaches the members before `end` back to the group's domain. A device probed for the first time has none. */
function* revert(state: CoreState, group: Group, end: number, failed: Domain, via: string): Op<void> {
  const domain = group.domain;
  if (domain === undefined) {
    return;
  }
  for (const { device } of group.members.slice(0, end)) {
    try {
      yield* setDeviceDomain(state, group, device, domain, failed, { mustSucceed: true, via });
    } catch (error) {
      warn(state, "__iommu_group_set_domain_internal", `revert failed: ${errnoOf(error).message}`);
    }
  }
}

/** {@link setGroupDomain} for paths that cannot fail: a failure is a WARN. Source: `__iommu_group_set_domain_nofail()`. */
export function* setGroupDomainNoFail(state: CoreState, group: Group, domain: Domain, via: string): Op<void> {
  try {
    yield* setGroupDomain(state, group, domain, { mustSucceed: true, via });
  } catch (error) {
    warn(state, "__iommu_group_set_domain_nofail", errnoOf(error).message);
  }
}

/**
 * A DMA mapping is about to be made: a device whose attach was put off (kdump) is attached now.
 *
 * Source: Linux 7.2 `iommu_deferred_attach()`.
 *
 * @throws KernelError EBUSY while the device is staged for reset; the driver's errno
 */
export function* deferredAttach(state: CoreState, device: Device, domain: Domain): Op<void> {
  if (device.iommu?.attachDeferred !== true) {
    return;
  }
  if (!state.rules.lockedDeferredAttach) {
    yield* attachDevice(state, device, domain, undefined, "deferred");
    return;
  }
  const group = groupOf(device);
  yield* withLock(group.mutex, () => {
    if (group.member(device)?.blocked === true) {
      throw new Failure("EBUSY", `${device.name} is being reset`);
    }
    return attachDevice(state, device, domain, undefined, "deferred");
  });
}

/**
 * A user may attach a domain only in place of one of the core's own.
 *
 * Source: Linux 6.1 and 7.2 `__iommu_attach_group()`.
 *
 * @throws KernelError EBUSY when the group is neither on its default nor on the blocking domain
 */
export function requireCoreDomain(group: Group): void {
  if (group.domain !== undefined && group.domain !== group.defaultDomain && group.domain !== group.blockingDomain) {
    throw new Failure("EBUSY", `group ${group.id} is attached to another domain`);
  }
}

/**
 * The domain a claim and a reset attach: the driver's BLOCKED, else an empty paging domain.
 *
 * Source: Linux 7.2 `__iommu_group_alloc_blocking_domain()`.
 */
export function blockingDomain(group: Group): Domain {
  if (group.blockingDomain !== undefined) {
    return group.blockingDomain;
  }
  const device = group.members[0]?.device;
  if (device === undefined) {
    throw new Failure("ENODEV", `group ${group.id} is empty`);
  }
  const { driver } = iommuOf(device);
  group.blockingDomain = driver.blocked ?? driver.allocPaging(device, { type: "UNMANAGED", pasid: false });
  return group.blockingDomain;
}
