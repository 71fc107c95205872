import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import { attachDevice, setGroupDomain } from "./attach.ts";
import { setupDefaultDomain } from "./default-domain.ts";
import type { Device } from "./device.ts";
import { mapDirectRegions } from "./direct-regions.ts";
import { Group } from "./group.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, freeDomain, iommuOf, warn } from "./state.ts";
import type { Domain, IommuDriver } from "./types.ts";

/** Source: Linux 7.2 `iommu_init_device()`. */
function* initDevice(state: CoreState, device: Device, driver: IommuDriver): Op<Group> {
  for (const hook of state.hooks) {
    hook.probe?.(device);
  }
  if (device.driver === undefined && device.bus.dmaConfigure !== undefined) {
    yield* device.bus.dmaConfigure();
  }
  device.iommu = { driver, maxPasids: 0, requireDirect: false, attachDeferred: false };
  try {
    yield* driver.probeDevice(device);
    const hint = driver.deviceGroup(device);
    const group = hint === "new" ? new Group(state.nextGroup) : hint;
    if (hint === "new") {
      state.nextGroup += 1;
      state.groups.push(group);
    }
    device.iommu.maxPasids = Math.min(device.bus.maxPasids(), driver.maxPasids(device));
    device.iommu.attachDeferred = driver.isAttachDeferred?.(device) ?? false;
    if (hint === "new" && state.trace.active) {
      state.trace.emit("group:create", { group: group.id, device: device.name });
    }
    return group;
  } catch (error) {
    device.iommu = undefined;
    throw error;
  }
}

/** What `__iommu_probe_device()` left to do after a device joined its group. */
type Pending = "finalize" | "setup-group";

/**
 * Steps 1-6 of a device's probe.
 *
 * Source: Linux 7.2 `__iommu_probe_device()`.
 *
 * @param listed the caller sets groups up afterwards (`bus_iommu_probe()`)
 */
function* probeDevice(state: CoreState, device: Device, driver: IommuDriver, listed: boolean): Op<Pending> {
  if (device.group !== undefined) {
    return "finalize";
  }
  const group = yield* initDevice(state, device, driver);
  if (device.driver !== undefined) {
    warn(state, "__iommu_probe_device", `late IOMMU probe of ${device.name} at driver bind`);
  }
  let pending: Pending = "finalize";
  try {
    yield* withLock(group.mutex, function* () {
      group.members.push({ device, blocked: false, resetDepth: 0 });
      device.group = group;
      if (state.trace.active) {
        state.trace.emit("group:join", { group: group.id, device: device.name });
      }
      for (const hook of state.hooks) {
        hook.groupJoin?.(group, device);
      }
      if (group.defaultDomain !== undefined) {
        try {
          yield* mapDirectRegions(device, group.defaultDomain);
        } catch (error) {
          warn(state, "__iommu_probe_device", errnoOf(error).message);
        }
      }
      if (group.domain !== undefined) {
        yield* joinDomain(state, group, device);
      } else if (listed) {
        pending = "setup-group";
      } else {
        yield* setupDefaultDomain(state, group, undefined);
      }
    });
  } catch (error) {
    const failure = errnoOf(error);
    yield* deinitDevice(state, device);
    throw failure;
  }
  return pending;
}

/** A device joins whatever its group is attached to, an owner's domain included. */
function* joinDomain(state: CoreState, group: Group, device: Device): Op<void> {
  const domain = group.domain;
  if (domain === undefined) {
    return;
  }
  const iommu = iommuOf(device);
  if (iommu.requireDirect && (domain.type === "BLOCKED" || domain === group.blockingDomain)) {
    throw new KernelError("EINVAL", `${device.name} has a direct region and its group is blocked`);
  }
  if (iommu.attachDeferred && domain === group.defaultDomain) {
    return;
  }
  yield* attachDevice(state, device, domain, undefined, "join");
}

function* finalize(state: CoreState, device: Device): Op<void> {
  if (state.trace.active) {
    state.trace.emit("device:probe-finalize", { device: device.name });
  }
  const { driver } = iommuOf(device);
  if (driver.probeFinalize !== undefined) {
    yield* driver.probeFinalize(device);
  }
}

function traceProbe(state: CoreState, device: Device, result: string): void {
  if (state.trace.active) {
    state.trace.emit("device:probe", { device: device.name, result });
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
  const groups: Group[] = [];
  for (const device of state.devices) {
    try {
      const pending = yield* probeDevice(state, device, driver, true);
      traceProbe(state, device, "0");
      if (pending === "setup-group" && device.group !== undefined && !groups.includes(device.group)) {
        groups.push(device.group);
      }
    } catch (error) {
      const failure = errnoOf(error);
      traceProbe(state, device, failure.errno);
      if (failure.errno !== "ENODEV") {
        throw failure;
      }
    }
  }
  for (const group of groups) {
    yield* withLock(group.mutex, () => setupDefaultDomain(state, group, undefined));
    for (const { device } of group.members) {
      yield* finalize(state, device);
    }
  }
}

/**
 * The device leaves: the release domain is attached (IDENTITY instead of BLOCKED where a direct region must stay
 * reachable), then the driver forgets it. The last member takes the group's domains along.
 *
 * Source: Linux 7.2 `iommu_deinit_device()`, `__iommu_group_remove_device()`.
 */
export function* deinitDevice(state: CoreState, device: Device): Op<void> {
  const { group, iommu } = device;
  if (group === undefined || iommu === undefined) {
    return;
  }
  for (const hook of state.hooks) {
    hook.release?.(device);
  }
  yield* withLock(group.mutex, function* () {
    const index = group.members.findIndex((member) => member.device === device);
    group.members.splice(index, 1);
    const { driver } = iommu;
    let release = driver.releaseDomain;
    if (!iommu.attachDeferred && release !== undefined) {
      if (iommu.requireDirect && driver.identity !== undefined && release === driver.blocked) {
        release = driver.identity;
      }
      try {
        yield* attachDevice(state, device, release, group.domain, "release");
      } catch (error) {
        warn(state, "iommu_deinit_device", errnoOf(error).message);
      }
    }
    if (driver.releaseDevice !== undefined) {
      yield* driver.releaseDevice(device);
    }
    if (group.members.length === 0) {
      freeGroupDomains(group);
    }
  });
  device.iommu = undefined;
  device.group = undefined;
  if (state.trace.active) {
    state.trace.emit("device:release", { device: device.name });
  }
}

function freeGroupDomains(group: Group): void {
  freeDomain(group.defaultDomain);
  freeDomain(group.blockingDomain);
  group.defaultDomain = undefined;
  group.blockingDomain = undefined;
  group.domain = undefined;
}

/** Attaches a domain to a group on behalf of the core itself. Source: Linux 7.2 `__iommu_group_set_domain()`. */
export function* setByCore(state: CoreState, group: Group, domain: Domain): Op<void> {
  yield* withLock(group.mutex, () => setGroupDomain(state, group, domain, { mustSucceed: false, via: "core" }));
}
