import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import { attachDevice, requireCoreDomain, setGroupDomain } from "./attach.ts";
import type { DefaultType } from "./default-domain.ts";
import { deviceWish, globalDefaultType, setDefault } from "./default-domain.ts";
import type { Device } from "./device.ts";
import { mapDirectRegions, mapWithoutLooking } from "./direct-regions.ts";
import type { Group } from "./group.ts";
import { addMember, finalize, freeGroup, newGroup, probeEach, traceProbe } from "./probe-steps.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, freeDomain, groupOf, iommuOf, warn } from "./state.ts";
import type { Domain, IommuDriver } from "./types.ts";

/**
 * The device joins its group and is attached to whatever the group is attached to, an owner's domain included.
 *
 * Source: Linux 6.1 `__iommu_probe_device()`, `iommu_group_get_for_dev()`, `iommu_group_add_device()`.
 */
function* probeDevice(state: CoreState, device: Device, driver: IommuDriver): Op<void> {
  for (const hook of state.hooks) {
    hook.probe?.(device);
  }
  device.iommu = { driver, maxPasids: 0, requireDirect: false, attachDeferred: false };
  let probed = false;
  try {
    yield* driver.probeDevice(device);
    probed = true;
    const hint = driver.deviceGroup(device);
    const group = hint === "new" ? newGroup(state, device) : hint;
    device.iommu.maxPasids = Math.min(device.bus.maxPasids(), driver.maxPasids(device));
    device.iommu.attachDeferred = driver.isAttachDeferred?.(device) ?? false;
    yield* withLock(group.mutex, () => joinGroup(state, group, device));
  } catch (error) {
    const failure = errnoOf(error);
    if (probed && driver.releaseDevice !== undefined) {
      yield* driver.releaseDevice(device);
    }
    device.iommu = undefined;
    throw failure;
  }
}

function* joinGroup(state: CoreState, group: Group, device: Device): Op<void> {
  device.group = group;
  addMember(state, group, device);
  if (group.domain === undefined || iommuOf(device).attachDeferred) {
    return;
  }
  try {
    yield* attachDevice(state, device, group.domain, undefined, "join");
  } catch (error) {
    group.members.pop();
    device.group = undefined;
    throw error;
  }
}

/** Source: Linux 6.1 `iommu_group_alloc_default_domain()`: the new default domain becomes the group's domain as well. */
function allocDefault(state: CoreState, group: Group, device: Device, type: DefaultType): boolean {
  const domain = tryAlloc(device, type) ?? (type === "DMA" ? undefined : tryAlloc(device, "DMA"));
  if (domain === undefined) {
    return false;
  }
  if (domain.type !== type) {
    warn(state, "iommu_group_alloc_default_domain", `no ${type} domain for group ${group.id}: falling back to DMA`);
  }
  setDefault(state, group, domain);
  group.domain ??= domain;
  return true;
}

function tryAlloc(device: Device, type: DefaultType): Domain | undefined {
  const { driver } = iommuOf(device);
  if (type === "IDENTITY") {
    return driver.identity ?? driver.allocIdentity?.(device);
  }
  try {
    return driver.allocPaging(device, { type, pasid: false });
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}

/**
 * A device was added, or a driver starts to bind to it: it joins its group, and unless the group is claimed it is attached
 * to the default domain, even when joining has just attached it. Direct mappings follow, then a flush of the whole domain.
 *
 * Source: Linux 6.1 `iommu_probe_device()`.
 */
export function* probeAddedDevice61(state: CoreState, device: Device, driver: IommuDriver): Op<void> {
  try {
    if (device.group !== undefined) {
      return;
    }
    yield* withLock(state.probeLock, () => probeDevice(state, device, driver));
    const group = groupOf(device);
    yield* withLock(group.mutex, () => attachFirst(state, group, device));
    traceProbe(state, device, "0");
  } catch (error) {
    const failure = errnoOf(error);
    yield* releaseDevice61(state, device);
    traceProbe(state, device, failure.errno);
    throw failure;
  }
  yield* finalize(state, device);
}

function* attachFirst(state: CoreState, group: Group, device: Device): Op<void> {
  if (group.defaultDomain === undefined) {
    allocDefault(state, group, device, deviceWish(device) ?? globalDefaultType(state, device));
  }
  const domain = group.defaultDomain;
  if (domain !== undefined && group.owner === undefined) {
    yield* attachDevice(state, device, domain, group.domain, "default");
  }
  if (domain !== undefined) {
    yield* mapWithoutLooking(state, device, domain);
  }
}

/**
 * An IOMMU instance was registered: all devices join groups, then each group gets its default domain, its direct mappings
 * and its attach, in this order.
 *
 * Source: Linux 6.1 `bus_iommu_probe()`, `probe_alloc_default_domain()`, `__iommu_group_dma_attach()`.
 */
export function* probeBus61(state: CoreState, driver: IommuDriver): Op<void> {
  const groups = yield* probeEach(
    state,
    (device) => probeUnlessProbed(state, device, driver),
    (group) => group.defaultDomain === undefined,
  );
  for (const group of groups) {
    yield* withLock(group.mutex, () => setUpGroup(state, group));
    for (const { device } of group.members) {
      yield* finalize(state, device);
    }
  }
}

function* probeUnlessProbed(state: CoreState, device: Device, driver: IommuDriver): Op<void> {
  if (device.group === undefined) {
    yield* withLock(state.probeLock, () => probeDevice(state, device, driver));
  }
}

function* setUpGroup(state: CoreState, group: Group): Op<void> {
  const first = group.members[0]?.device;
  if (first === undefined || !allocDefault(state, group, first, groupWish(state, group, first))) {
    return;
  }
  const domain = group.defaultDomain;
  if (domain === undefined) {
    return;
  }
  for (const { device } of group.members) {
    yield* mapWithoutLooking(state, device, domain);
  }
  for (const { device } of group.members) {
    if (!iommuOf(device).attachDeferred) {
      yield* attachDevice(state, device, domain, undefined, "default");
    }
  }
}

/** Two members that want different types get the global default. Source: Linux 6.1 `probe_get_default_domain_type()`. */
function groupWish(state: CoreState, group: Group, first: Device): DefaultType {
  const wishes = new Set(group.members.map(({ device }) => deviceWish(device)).filter((wish) => wish !== undefined));
  if (wishes.size > 1) {
    warn(state, "probe_get_default_domain_type", `members of group ${group.id} want ${[...wishes].join(" and ")}`);
  }
  const [wish] = wishes;
  return (wishes.size === 1 ? wish : undefined) ?? globalDefaultType(state, first);
}

/**
 * The driver forgets the device, then it leaves its group; no domain is attached in between.
 *
 * Source: Linux 6.1 `iommu_release_device()`, `iommu_group_remove_device()`.
 */
export function* releaseDevice61(state: CoreState, device: Device): Op<void> {
  const { group, iommu } = device;
  if (iommu === undefined) {
    return;
  }
  for (const hook of state.hooks) {
    hook.release?.(device);
  }
  if (iommu.driver.releaseDevice !== undefined) {
    yield* iommu.driver.releaseDevice(device);
  }
  device.iommu = undefined;
  device.group = undefined;
  if (group === undefined) {
    return;
  }
  const index = group.members.findIndex((member) => member.device === device);
  if (index >= 0) {
    group.members.splice(index, 1);
  }
  if (group.members.length === 0 && group.owner === undefined) {
    freeGroup(state, group);
  }
  if (state.trace.active) {
    state.trace.emit("device:release", { device: device.name });
  }
}

/**
 * A user attaches a domain. When a member fails, the old domain is attached to all of them again, also to the failing one.
 *
 * Source: Linux 6.1 `__iommu_attach_group()`. The caller holds the mutex.
 *
 * @throws KernelError EBUSY when the group is neither on its default nor on the blocking domain; the driver's errno
 */
export function* attachByUser61(state: CoreState, domain: Domain, group: Group): Op<void> {
  requireCoreDomain(group);
  const old = group.domain;
  try {
    for (const { device } of group.members) {
      yield* attachDevice(state, device, domain, old, "user");
    }
    group.domain = domain;
  } catch (error) {
    const failure = errnoOf(error);
    group.domain = undefined;
    if (old !== undefined) {
      try {
        yield* setGroupDomain(state, group, old, { mustSucceed: true, via: "user" });
      } catch (second) {
        warn(state, "__iommu_attach_group", errnoOf(second).message);
      }
    }
    throw failure;
  }
}

/**
 * A write to sysfs `type`: groups of one device only, and only while no driver is bound.
 *
 * Source: Linux 6.1 `iommu_group_store_type()`, `iommu_change_dev_def_domain()`.
 *
 * @throws KernelError EINVAL for a group of several devices or a contradiction to the driver, EBUSY while a driver is bound
 * or the group is off its default domain; the driver's errno
 */
export function* storeType61(state: CoreState, group: Group, target: DefaultType | undefined): Op<void> {
  const device = group.members.length === 1 ? group.members[0]?.device : undefined;
  if (device === undefined) {
    throw new KernelError("EINVAL", `group ${group.id} has ${group.members.length} devices`);
  }
  const live = target === "DMA-FQ" && group.defaultDomain?.type === "DMA";
  if (device.driver !== undefined && !live) {
    throw new KernelError("EBUSY", `${device.name} is bound to ${device.driver.name}`);
  }
  yield* withLock(group.mutex, () => changeDefault(state, group, device, target));
}

function* changeDefault(state: CoreState, group: Group, device: Device, target: DefaultType | undefined): Op<void> {
  const old = group.defaultDomain;
  if (old === undefined || old !== group.domain) {
    throw new KernelError("EBUSY", `group ${group.id} is not on its default domain`);
  }
  const wish = deviceWish(device);
  if (target !== undefined && wish !== undefined && target !== wish) {
    throw new KernelError("EINVAL", `${device.name} needs ${wish}, ${target} was asked for`);
  }
  const type = target ?? wish ?? globalDefaultType(state, device);
  if (old.type === type) {
    return;
  }
  if (type === "DMA-FQ" && old.type === "DMA") {
    old.type = "DMA-FQ";
    return;
  }
  if (!allocDefault(state, group, device, type) || group.defaultDomain === undefined) {
    throw new KernelError("ENOMEM", `no ${type} domain for group ${group.id}`);
  }
  const domain = group.defaultDomain;
  try {
    yield* mapDirectRegions(state, device, domain);
    yield* attachDevice(state, device, domain, old, "default");
  } catch (error) {
    freeDomain(domain);
    setDefault(state, group, old);
    group.domain = old;
    throw error;
  }
  group.domain = domain;
  // The kernel calls probe_finalize again, after it let the mutex go; nobody else can see the difference here.
  yield* finalize(state, device);
  freeDomain(old);
}
