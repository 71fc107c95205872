import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import { Group } from "./group.ts";
import type { CoreState } from "./state.ts";
import { iommuOf } from "./state.ts";

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
