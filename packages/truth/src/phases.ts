import type { Device, Group, IommuCore, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PciBus } from "@iommu-lab/pci";
import type { PhaseExpectation } from "./expectation.ts";

/** The kernel's interfaces that a phase uses. */
export interface Kernel {
  readonly core: IommuCore;
  readonly bus: PciBus;
}

/** A phase's name in parts: `reset-unbound:vnet_ats:flr`. */
export interface PhaseName {
  readonly action: string;
  readonly role: string;
  /** What follows the role: a group type, a reset method; empty when nothing does. */
  readonly argument: string;
}

/** Splits the name of a phase. */
export function phaseName(name: string): PhaseName {
  const [action = "", role = "", argument = ""] = name.split(":");
  return { action, role, argument };
}

/** Whether the phase's command binds or unbinds the driver, and so cannot tell what was bound before it. */
const BINDS: ReadonlySet<string> = new Set(["rebind", "bind-in-identity"]);
const UNBINDS: ReadonlySet<string> = new Set(["unbind", "type-unbind", "back-to-auto"]);
const TYPES: ReadonlySet<string> = new Set(["type-bound", "type-unbound", "type-bound-from-DMA", "type-nodriver"]);
const RESETS: ReadonlySet<string> = new Set([
  "reset-in-identity",
  "reset-default-bound",
  "reset-unbound",
  "reset-nodriver",
  "reset-nodriver-identity",
]);

/**
 * Why this version cannot replay a phase.
 *
 * @returns undefined when it can
 */
export function unsupportedReason(name: PhaseName): string | undefined {
  const { action, argument } = name;
  if (BINDS.has(action) || UNBINDS.has(action) || TYPES.has(action)) {
    return undefined;
  }
  if (action === "set-identity-before-bind") {
    return undefined;
  }
  if (RESETS.has(action)) {
    return argument === "" || argument === "flr" ? undefined : `reset method ${argument} is not replayed`;
  }
  return "this kind of phase is not replayed";
}

/** The group of a device. */
export function groupOf(device: Device): Group {
  if (device.group === undefined) {
    throw new KernelError("ENODEV", `${device.name} is in no IOMMU group`);
  }
  return device.group;
}

/** Does what the phase's command did. @throws KernelError what the command would have printed */
export function* perform(kernel: Kernel, device: Device, name: PhaseName, driver: string): Op<void> {
  const { action, argument } = name;
  const { core, bus } = kernel;
  if (action === "back-to-auto") {
    yield* bus.unbind(device);
    yield* core.storeType(groupOf(device), "auto");
    yield* bus.bind(device, { name: driver, managesDma: false });
  } else if (UNBINDS.has(action)) {
    yield* bus.unbind(device);
  } else if (BINDS.has(action)) {
    yield* bus.bind(device, { name: driver, managesDma: false });
  } else if (TYPES.has(action)) {
    yield* core.storeType(groupOf(device), argument);
  } else if (action === "set-identity-before-bind") {
    yield* core.storeType(groupOf(device), "identity");
  } else if (RESETS.has(action)) {
    yield* bus.resetFunction(device);
  }
}

/** How the device stood when a phase began, as far as the recording tells; undefined where it does not. */
export interface Start {
  /** `none` or a driver's name. */
  readonly driver: string | undefined;
  /** The group's type. */
  readonly type: string | undefined;
}

/**
 * Between two phases the recording's shell bound, unbound and changed types without recording it. What a phase printed
 * first, and what it cannot have changed, tell how it began.
 */
export function startOf(expectation: PhaseExpectation, name: PhaseName, address: string): Start {
  const { output, before } = expectation;
  const after = expectation.device(address).state;
  const earlier = before?.devices.get(address);
  let driver: string | undefined = after?.driver;
  if (BINDS.has(name.action)) {
    driver = "none";
  } else if (UNBINDS.has(name.action)) {
    driver = earlier?.driver;
  }
  const keepsType = !TYPES.has(name.action) && name.action !== "back-to-auto";
  return { driver, type: output.typeBefore ?? (keepsType ? after?.type : undefined) };
}

/** Brings the device to where a phase began. @returns the steps that it took, for the report */
export function* prepare(kernel: Kernel, device: Device, start: Start): Op<string[]> {
  const { core, bus } = kernel;
  const steps: string[] = [];
  const group = groupOf(device);
  const bound = device.driver?.name ?? "none";
  const driver = start.driver ?? bound;
  const changeType = start.type !== undefined && start.type !== typeOf(group);
  if (bound !== "none" && (bound !== driver || changeType)) {
    yield* bus.unbind(device);
    steps.push("unbind");
  }
  if (changeType && start.type !== undefined) {
    yield* core.storeType(group, start.type);
    steps.push(`type ${start.type}`);
  }
  if (driver !== "none" && device.driver === undefined) {
    yield* bus.bind(device, { name: driver, managesDma: false });
    steps.push(`bind ${driver}`);
  }
  return steps;
}

/** A group's type as sysfs prints it. */
export function typeOf(group: Group): string {
  const type = group.defaultDomain?.type;
  if (type === undefined) {
    return "none";
  }
  return type.startsWith("DMA") ? type : type.toLowerCase();
}
