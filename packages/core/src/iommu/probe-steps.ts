import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import { Group } from "./group.ts";
import type { CoreState } from "./state.ts";
import { errnoOf, freeDomain, iommuOf } from "./state.ts";

/** A new group for a device, under the lowest number that no group has, as `ida_alloc()` gives it. */
export function newGroup(state: CoreState, device: Device): Group {
  let id = 0;
  while (state.groups.some((group) => group.id === id)) {
    id += 1;
  }
  const group = new Group(id);
  state.groups.push(group);
  if (state.trace.active) {
    state.trace.emit("group:create", { group: group.id, device: device.name });
  }
  return group;
}

/** Makes the device a member of its group, and says so. */
export function addMember(state: CoreState, group: Group, device: Device): void {
  group.members.push({ device, blocked: false, resetDepth: 0 });
  if (state.trace.active) {
    state.trace.emit("group:join", { group: group.id, device: device.name });
  }
  for (const hook of state.hooks) {
    hook.groupJoin?.(group, device);
  }
}

/** Takes its domains from a group without members. An owner still refers to the group, which then keeps its number. */
export function freeGroup(state: CoreState, group: Group): void {
  freeDomain(group.defaultDomain);
  freeDomain(group.blockingDomain);
  group.defaultDomain = undefined;
  group.blockingDomain = undefined;
  group.domain = undefined;
  if (group.owner === undefined) {
    state.groups.splice(state.groups.indexOf(group), 1);
  }
}

/**
 * Probes every device there is; any error but ENODEV ends it.
 *
 * Source: Linux 6.1 and 7.2 `probe_iommu_group()`, called by `bus_iommu_probe()`.
 *
 * @param isNew whether a group is still to be set up
 * @returns the groups that are, in the order met
 */
export function* probeEach(
  state: CoreState,
  probe: (device: Device) => Op<void>,
  isNew: (group: Group) => boolean,
): Op<readonly Group[]> {
  const groups: Group[] = [];
  for (const device of state.devices) {
    try {
      yield* probe(device);
      traceProbe(state, device, "0");
    } catch (error) {
      const failure = errnoOf(error);
      traceProbe(state, device, failure.errno);
      if (failure.errno !== "ENODEV") {
        throw failure;
      }
    }
    const { group } = device;
    if (group !== undefined && isNew(group) && !groups.includes(group)) {
      groups.push(group);
    }
  }
  return groups;
}

/** The driver's last word on a probed device, outside all locks. */
export function* finalize(state: CoreState, device: Device): Op<void> {
  if (state.trace.active) {
    state.trace.emit("device:probe-finalize", { device: device.name });
  }
  const { driver } = iommuOf(device);
  if (driver.probeFinalize !== undefined) {
    yield* driver.probeFinalize(device);
  }
}

/** What a probe returned. */
export function traceProbe(state: CoreState, device: Device, result: string): void {
  if (state.trace.active) {
    state.trace.emit("device:probe", { device: device.name, result });
  }
}
