import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import { attachDevice, setDeviceDomain, setGroupDomain } from "./attach.ts";
import { setupDefaultDomain } from "./default-domain.ts";
import type { Device } from "./device.ts";
import { mapWithoutLooking } from "./direct-regions.ts";
import type { Group } from "./group.ts";
import { addMember, finalize, freeGroup, newGroup, probeEach, traceProbe } from "./probe-steps.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, warn } from "./state.ts";
import type { Domain, IommuDriver } from "./types.ts";

/**
 * The bus configures the device. The kernel drops the probe lock for it, and looks at no error.
 *
 * Source: Linux 7.2 `iommu_init_device()`.
 */
function* configure(device: Device): Op<void> {
  if (device.driver !== undefined || device.bus.dmaConfigure === undefined) {
    return;
  }
  try {
    yield* device.bus.dmaConfigure();
  } catch (error) {
    errnoOf(error);
  }
  if (device.group !== undefined) {
    throw new KernelError("ENODEV", `${device.name} was probed meanwhile`);
  }
}

/** Source: Linux 7.2 `iommu_init_device()`, after the bus configured the device. */
function* initDevice(state: CoreState, device: Device, driver: IommuDriver): Op<Group> {
  device.iommu = { driver, maxPasids: 0, requireDirect: false, attachDeferred: false };
  let probed = false;
  try {
    yield* driver.probeDevice(device);
    probed = true;
    const hint = driver.deviceGroup(device);
    const group = hint === "new" ? newGroup(state, device) : hint;
    device.group = group;
    device.iommu.maxPasids = Math.min(device.bus.maxPasids(), driver.maxPasids(device));
    device.iommu.attachDeferred = driver.isAttachDeferred?.(device) ?? false;
    return group;
  } catch (error) {
    const failure = errnoOf(error);
    if (probed && driver.releaseDevice !== undefined) {
      yield* driver.releaseDevice(device);
    }
    device.iommu = undefined;
    throw failure;
  }
}

/**
 * A device's probe, without its end (`probe_finalize`).
 *
 * Source: Linux 7.2 `__iommu_probe_device()`.
 *
 * @param listed the caller sets new groups up afterwards (`bus_iommu_probe()`)
 */
function* probeDevice(state: CoreState, device: Device, driver: IommuDriver, listed: boolean): Op<void> {
  if (device.group !== undefined) {
    return;
  }
  for (const hook of state.hooks) {
    hook.probe?.(device);
  }
  if (state.rules.firmwareProbe === "device-add") {
    yield* configure(device);
  }
  yield* withLock(state.probeLock, function* () {
    if (device.group !== undefined) {
      return;
    }
    const group = yield* initDevice(state, device, driver);
    if (device.driver !== undefined) {
      warn(state, "__iommu_probe_device", `late IOMMU probe of ${device.name} at driver bind`);
    }
    yield* withLock(group.mutex, () => join(state, group, device, listed));
  });
}

/** The device joins its group and is attached; on failure it leaves again, before anybody else can see the group. */
function* join(state: CoreState, group: Group, device: Device, listed: boolean): Op<void> {
  try {
    addMember(state, group, device);
    if (group.defaultDomain !== undefined) {
      yield* mapWithoutLooking(state, device, group.defaultDomain);
    }
    if (group.domain !== undefined) {
      // Whatever the group is attached to, an owner's domain included; also while another member is being reset.
      const options = { mustSucceed: false, via: "join" };
      yield* setDeviceDomain(state, group, device, group.domain, undefined, options);
    } else if (!listed) {
      yield* setupDefaultDomain(state, group, undefined);
    }
  } catch (error) {
    const failure = errnoOf(error);
    yield* leaveGroup(state, group, device);
    throw failure;
  }
}

/**
 * A device was added while an IOMMU driver is registered.
 *
 * Source: Linux 7.2 `iommu_probe_device()`.
 *
 * @throws KernelError; the device then exists without an IOMMU
 */
export function* probeAddedDevice(state: CoreState, device: Device, driver: IommuDriver): Op<void> {
  try {
    yield* probeDevice(state, device, driver, false);
    traceProbe(state, device, "0");
  } catch (error) {
    traceProbe(state, device, errnoOf(error).errno);
    throw error;
  }
  yield* finalize(state, device);
}

/**
 * An IOMMU instance was registered: all devices join groups first, then each group, in the order met, gets its default
 * domain and its members are finalized. Any error but ENODEV ends the registration and takes the unit from all its
 * devices.
 *
 * Source: Linux 7.2 `bus_iommu_probe()`, `probe_iommu_group()`, `iommu_device_register()`.
 */
export function* probeBus(state: CoreState, driver: IommuDriver): Op<void> {
  const groups = yield* probeEach(
    state,
    (device) => probeDevice(state, device, driver, true),
    (group) => group.domain === undefined,
  );
  for (const group of groups) {
    yield* withLock(group.mutex, () => setupDefaultDomain(state, group, undefined));
    for (const { device } of group.members) {
      yield* finalize(state, device);
    }
  }
}

/**
 * The device leaves its group, if it is in one.
 *
 * Source: Linux 7.2 `__iommu_group_remove_device()`.
 */
export function* deinitDevice(state: CoreState, device: Device): Op<void> {
  const { group } = device;
  if (group === undefined) {
    return;
  }
  yield* withLock(group.mutex, () => leaveGroup(state, group, device));
}

/**
 * The release domain is attached (IDENTITY instead of BLOCKED where a direct region must stay reachable), then the driver
 * forgets the device. The last member takes the group's domains along. The caller holds the group's mutex.
 *
 * Source: Linux 7.2 `__iommu_group_free_device()`, `iommu_deinit_device()`.
 */
function* leaveGroup(state: CoreState, group: Group, device: Device): Op<void> {
  const { iommu } = device;
  const index = group.members.findIndex((member) => member.device === device);
  if (index < 0 || iommu === undefined) {
    return;
  }
  for (const hook of state.hooks) {
    hook.release?.(device);
  }
  group.members.splice(index, 1);
  const last = group.members.length === 0;
  if (last && (group.ownerCount > 0 || group.domain !== group.defaultDomain)) {
    warn(state, "__iommu_group_free_device", `group ${group.id} is empty, but owned or off its default domain`);
  }
  const { driver } = iommu;
  if (!iommu.attachDeferred && driver.releaseDomain !== undefined) {
    yield* park(state, device, driver, driver.releaseDomain, group.domain);
  }
  if (driver.releaseDevice !== undefined) {
    yield* driver.releaseDevice(device);
  }
  if (last) {
    freeGroup(state, group);
  }
  device.iommu = undefined;
  device.group = undefined;
  if (state.trace.active) {
    state.trace.emit("device:release", { device: device.name });
  }
}

/** Attaches the release domain; the kernel does not look at the result. */
function* park(
  state: CoreState,
  device: Device,
  driver: IommuDriver,
  domain: Domain,
  old: Domain | undefined,
): Op<void> {
  const direct =
    state.rules.identityAtRelease && device.iommu?.requireDirect === true && domain === driver.blocked
      ? driver.identity
      : undefined;
  try {
    yield* attachDevice(state, device, direct ?? domain, old, "release");
  } catch (error) {
    errnoOf(error);
  }
}

/** Attaches a domain to a group on behalf of the core itself. Source: Linux 7.2 `__iommu_group_set_domain()`. */
export function* setByCore(state: CoreState, group: Group, domain: Domain): Op<void> {
  yield* withLock(group.mutex, () => setGroupDomain(state, group, domain, { mustSucceed: false, via: "core" }));
}
