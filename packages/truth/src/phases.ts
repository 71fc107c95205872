import type { Device, Op } from "@iommu-lab/core";
import type { PhaseExpectation } from "./expectation.ts";
import { planDrivers, planRemove, planRescan } from "./hotplug.ts";
import type { Kernel, Plan, Start } from "./plan.ts";
import { driverNamed, groupOf, typeOf } from "./plan.ts";
import { playReset } from "./reset-phases.ts";

/** A phase's name in parts: `reset-unbound:vnet_ats:flr`. */
export interface PhaseName {
  readonly action: string;
  readonly role: string;
  /** What follows the role: a group type, a reset method; empty when nothing does. */
  readonly argument: string;
}

const BINDS: ReadonlySet<string> = new Set(["rebind", "bind-in-identity"]);
const UNBINDS: ReadonlySet<string> = new Set(["unbind", "type-unbind"]);
const TYPES: ReadonlySet<string> = new Set(["type-bound", "type-unbound", "type-bound-from-DMA", "type-nodriver"]);
const RESETS: ReadonlySet<string> = new Set([
  "reset-in-identity",
  "reset-default-bound",
  "reset-unbound",
  "reset-nodriver",
  "reset-nodriver-identity",
]);
/** What changes the driver: what was bound before cannot be told from what is bound after. */
const REBINDS: ReadonlySet<string> = new Set([...UNBINDS, "back-to-auto", "vfio-bind"]);
const CHANGES_TYPE: ReadonlySet<string> = new Set([
  ...TYPES,
  "back-to-auto",
  "set-identity-before-bind",
  "vfio-type-while-bound",
]);

/** Splits the name of a phase. */
export function phaseName(name: string): PhaseName {
  const [action = "", role = "", argument = ""] = name.split(":");
  return { action, role, argument };
}

/**
 * How this version plays a phase.
 *
 * @param roles role → address
 * @returns the reason when it cannot
 */
export function planPhase(
  expectation: PhaseExpectation,
  kernel: Kernel,
  roles: ReadonlyMap<string, string>,
): Plan | string {
  const name = phaseName(expectation.phase.name);
  if (name.action === "drivers-load") {
    return planDrivers(expectation, kernel);
  }
  if (name.action === "type-multi") {
    return planGroup(expectation, kernel, roles, name.argument);
  }
  if (name.action === "rescan") {
    return planRescan(expectation, kernel);
  }
  const device = kernel.deviceAt(roles.get(name.role) ?? "");
  if (device === undefined) {
    return `${name.role === "" ? "what it does" : name.role} is not part of the modelled machine`;
  }
  if (name.action === "remove") {
    return planRemove(expectation, kernel, device);
  }
  const { state } = expectation.device(device.name);
  const after = typeof state === "object" ? state.driver : (device.driver?.name ?? "none");
  const op = actionOf(expectation, kernel, device, name, after);
  if (typeof op === "string") {
    return op;
  }
  return { targets: [device.name], starts: [[device, startOf(expectation, name, device.name)]], run: op };
}

/** A phase that concerns one device. @param driver what is bound afterwards */
function actionOf(
  expectation: PhaseExpectation,
  kernel: Kernel,
  device: Device,
  name: PhaseName,
  driver: string,
): (() => Op<void>) | string {
  const { core, bus } = kernel;
  const { action, argument } = name;
  if (RESETS.has(action)) {
    return () => playReset(expectation, bus, device);
  }
  if (BINDS.has(action)) {
    return () => bus.bind(device, driverNamed(driver));
  }
  if (UNBINDS.has(action)) {
    return () => bus.unbind(device);
  }
  if (TYPES.has(action)) {
    return () => core.storeType(groupOf(device), argument);
  }
  switch (action) {
    case "set-identity-before-bind":
    case "vfio-type-while-bound":
      return () => core.storeType(groupOf(device), "identity");
    case "back-to-auto":
      return () => rebind(kernel, device, driver, "auto");
    case "vfio-bind":
      return () => rebind(kernel, device, "vfio-pci", undefined);
    default:
      return "this kind of phase is not replayed";
  }
}

function* rebind(kernel: Kernel, device: Device, driver: string, type: string | undefined): Op<void> {
  yield* kernel.bus.unbind(device);
  if (type !== undefined) {
    yield* kernel.core.storeType(groupOf(device), type);
  }
  yield* kernel.bus.bind(device, driverNamed(driver));
}

/** A group of two functions, whose type can only change when both are unbound. */
function planGroup(
  expectation: PhaseExpectation,
  kernel: Kernel,
  roles: ReadonlyMap<string, string>,
  argument: string,
): Plan | string {
  const [first, second] = ["mf0", "mf1"].map((role) => kernel.deviceAt(roles.get(role) ?? ""));
  if (first === undefined || second === undefined) {
    return "mf is not part of the modelled machine";
  }
  const { core, bus } = kernel;
  const driver = expectation.before?.devices.get(first.name)?.driver ?? "virtio-pci";
  const plan = (drivers: readonly [string, string], run: () => Op<void>): Plan => ({
    targets: [first.name, second.name],
    starts: [
      [first, { driver: drivers[0], type: undefined }],
      [second, { driver: drivers[1], type: undefined }],
    ],
    run,
  });
  const set = (type: string): Op<void> => core.storeType(groupOf(first), type);
  switch (argument) {
    case "both-bound":
      return plan([driver, driver], () => set("identity"));
    case "one-bound":
      return plan([driver, driver], function* () {
        yield* bus.unbind(first);
        yield* set("identity");
      });
    case "none-bound":
      return plan(["none", driver], function* () {
        yield* bus.unbind(second);
        yield* set("identity");
      });
    case "restore":
      return plan(["none", "none"], function* () {
        yield* set("auto");
        yield* bus.bind(first, driverNamed("virtio-pci"));
        yield* bus.bind(second, driverNamed("virtio-pci"));
      });
    default:
      return "this kind of phase is not replayed";
  }
}

/**
 * Between two phases the recording's shell bound, unbound and changed types without recording it. What a phase printed
 * first, and what it cannot have changed, tell how it began.
 */
function startOf(expectation: PhaseExpectation, name: PhaseName, address: string): Start {
  const { output, before } = expectation;
  const { state } = expectation.device(address);
  const after = typeof state === "object" ? state : undefined;
  let driver: string | undefined = after?.driver;
  if (BINDS.has(name.action)) {
    driver = "none";
  } else if (REBINDS.has(name.action)) {
    driver = before?.devices.get(address)?.driver;
  }
  return { driver, type: output.typeBefore ?? (CHANGES_TYPE.has(name.action) ? undefined : after?.type) };
}

/** Brings a device to where a phase began. @returns the steps that it took, for the report */
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
    yield* bus.bind(device, driverNamed(driver));
    steps.push(`bind ${driver}`);
  }
  return steps;
}
