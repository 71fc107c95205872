import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import type { Group, GroupDevice } from "./group.ts";
import type { CoreState } from "./state.ts";
import { domainName, errnoOf, groupOf, iommuOf, warn } from "./state.ts";
import type { Domain, Pasid } from "./types.ts";

/** Calls the driver for one device and traces its answer. */
export function* setDevicePasid(
  state: CoreState,
  device: Device,
  pasid: Pasid,
  domain: Domain,
  old: Domain | undefined,
): Op<void> {
  const { trace } = state;
  if (domain.setPasid === undefined) {
    throw new KernelError("EOPNOTSUPP", `${domainName(domain)} cannot be set on a PASID`);
  }
  const id = trace.active
    ? trace.emit("pasid:set", {
        device: device.name,
        pasid,
        domain: domainName(domain),
        domainType: domain.type,
        old: domainName(old),
      })
    : 0;
  trace.enter(id);
  let result = "0";
  try {
    for (const hook of state.hooks) {
      hook.setPasid?.(device, pasid, domain, old);
    }
    yield* domain.setPasid(device, pasid, old);
  } catch (error) {
    result = error instanceof KernelError ? error.errno : "oops";
    throw error;
  } finally {
    if (trace.active) {
      trace.emit("pasid:done", { device: device.name, pasid, domain: domainName(domain), result });
    }
    trace.leave();
  }
}

function capable(group: Group): GroupDevice[] {
  return group.members.filter((member) => (member.device.iommu?.maxPasids ?? 0) > 0);
}

/**
 * Source: Linux 7.2 `iommu_remove_dev_pasid()` (the driver's BLOCKED is set on the PASID); Linux 6.12
 * `__iommu_remove_group_pasid()` (`remove_dev_pasid`).
 */
function* removeDevicePasid(state: CoreState, device: Device, pasid: Pasid, domain: Domain): Op<void> {
  const { driver } = iommuOf(device);
  if (state.rules.pasidRemoval === "blocked-domain") {
    if (driver.blocked !== undefined) {
      yield* setDevicePasid(state, device, pasid, driver.blocked, domain);
    }
    return;
  }
  const { trace } = state;
  const id = trace.active
    ? trace.emit("pasid:set", {
        device: device.name,
        pasid,
        domain: "none",
        domainType: "BLOCKED",
        old: domainName(domain),
      })
    : 0;
  trace.enter(id);
  try {
    for (const hook of state.hooks) {
      hook.removePasid?.(device, pasid, domain);
    }
    if (driver.removePasid !== undefined) {
      yield* driver.removePasid(device, pasid, domain);
    }
  } finally {
    if (trace.active) {
      trace.emit("pasid:done", { device: device.name, pasid, domain: "none", result: "0" });
    }
    trace.leave();
  }
}

/** Source: Linux 7.2 `__iommu_remove_group_pasid()`. */
function* removeFrom(state: CoreState, members: readonly GroupDevice[], pasid: Pasid, domain: Domain): Op<void> {
  for (const { device, blocked } of members) {
    if (blocked) {
      continue;
    }
    try {
      yield* removeDevicePasid(state, device, pasid, domain);
    } catch (error) {
      warn(state, "iommu_remove_dev_pasid", errnoOf(error).message);
    }
  }
}

/** Sets a PASID on all capable members; on failure the members already switched get their old domain back. */
function* setGroupPasid(
  state: CoreState,
  group: Group,
  pasid: Pasid,
  domain: Domain,
  old: Domain | undefined,
): Op<void> {
  const members = capable(group);
  for (const [index, { device }] of members.entries()) {
    try {
      yield* setDevicePasid(state, device, pasid, domain, old);
    } catch (error) {
      const failure = errnoOf(error);
      yield* rollBack(state, members.slice(0, index), pasid, domain, old);
      throw failure;
    }
  }
}

function* rollBack(
  state: CoreState,
  switched: readonly GroupDevice[],
  pasid: Pasid,
  domain: Domain,
  old: Domain | undefined,
): Op<void> {
  for (const member of switched) {
    if (old !== undefined) {
      try {
        yield* setDevicePasid(state, member.device, pasid, old, domain);
        continue;
      } catch (error) {
        warn(state, "__iommu_set_group_pasid", errnoOf(error).message);
      }
    }
    yield* removeFrom(state, [member], pasid, domain);
  }
}

function checkDomain(device: Device, pasid: Pasid, domain: Domain): void {
  if (domain.setPasid === undefined) {
    throw new KernelError("EOPNOTSUPP", `${domainName(domain)} cannot be set on a PASID`);
  }
  if (domain.driver !== iommuOf(device).driver || pasid === 0) {
    throw new KernelError("EINVAL", `PASID ${pasid} of ${device.name}`);
  }
}

function checkRecovery(group: Group): void {
  if (group.recoveryCount > 0) {
    throw new KernelError("EBUSY", `a member of group ${group.id} is being reset`);
  }
}

/**
 * Attaches a domain to a PASID of every PASID-capable member of the device's group.
 *
 * Source: Linux 7.2 `iommu_attach_device_pasid()`.
 *
 * @throws KernelError ENODEV, EOPNOTSUPP, EINVAL (PASID out of range), EBUSY (in use, or a reset is on), the driver's
 */
export function* attachPasid(state: CoreState, domain: Domain, device: Device, pasid: Pasid): Op<void> {
  if (state.rules.pasid === "none") {
    throw new KernelError("EOPNOTSUPP", `${state.kernel.id} attaches no domain to a PASID`);
  }
  const group = groupOf(device);
  if (state.rules.pasidRemoval === "blocked-domain" && iommuOf(device).driver.blocked?.setPasid === undefined) {
    throw new KernelError("EOPNOTSUPP", `a PASID of ${device.name} could not be removed again`);
  }
  checkDomain(device, pasid, domain);
  yield* withLock(group.mutex, function* () {
    checkRecovery(group);
    for (const member of capable(group)) {
      if (pasid >= iommuOf(member.device).maxPasids) {
        throw new KernelError("EINVAL", `PASID ${pasid} is beyond what ${member.device.name} can send`);
      }
    }
    if (group.pasids.has(pasid)) {
      throw new KernelError("EBUSY", `PASID ${pasid} of group ${group.id} is in use`);
    }
    if (state.rules.pasid === "attach") {
      // 6.12 publishes the entry before the driver is called, later kernels after.
      group.pasids.set(pasid, domain);
    }
    try {
      yield* setGroupPasid(state, group, pasid, domain, undefined);
    } catch (error) {
      group.pasids.delete(pasid);
      throw error;
    }
    group.pasids.set(pasid, domain);
  });
}

/**
 * Replaces the domain of a PASID. Attach handles are not told apart: the same domain again is the same entry.
 *
 * Source: Linux 7.2 `iommu_replace_device_pasid()`.
 *
 * @throws KernelError as {@link attachPasid}; EINVAL when nothing is attached or the same domain is
 */
export function* replacePasid(state: CoreState, domain: Domain, device: Device, pasid: Pasid): Op<void> {
  if (state.rules.pasid !== "attach-replace") {
    throw new KernelError("EOPNOTSUPP", `${state.kernel.id} replaces no PASID's domain`);
  }
  const group = groupOf(device);
  checkDomain(device, pasid, domain);
  yield* withLock(group.mutex, function* () {
    checkRecovery(group);
    const old = group.pasids.get(pasid);
    if (old === domain) {
      warn(
        state,
        "iommu_replace_device_pasid",
        `PASID ${pasid} of group ${group.id} has ${domainName(domain)} already`,
      );
    }
    if (old === undefined || old === domain) {
      throw new KernelError("EINVAL", `PASID ${pasid} of group ${group.id} has nothing to replace`);
    }
    yield* setGroupPasid(state, group, pasid, domain, old);
    group.pasids.set(pasid, domain);
  });
}

/** Takes a PASID away. Cannot fail. Source: Linux 7.2 `iommu_detach_device_pasid()`. */
export function* detachPasid(state: CoreState, device: Device, pasid: Pasid): Op<void> {
  const group = groupOf(device);
  yield* withLock(group.mutex, function* () {
    const domain = group.pasids.get(pasid);
    if (domain === undefined) {
      return;
    }
    yield* removeFrom(state, capable(group), pasid, domain);
    group.pasids.delete(pasid);
  });
}
