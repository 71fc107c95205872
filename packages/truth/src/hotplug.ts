import type { Device, Op } from "@iommu-lab/core";
import { pciDev } from "@iommu-lab/pci";
import type { PhaseExpectation } from "./expectation.ts";
import type { Kernel, Plan, Start } from "./plan.ts";
import { driverNamed } from "./plan.ts";

/** Modules were loaded: what has a driver afterwards and had none before, was bound. */
export function planDrivers(expectation: PhaseExpectation, kernel: Kernel): Plan {
  return {
    targets: kernel.bus.devices.map((device) => device.name),
    starts: [],
    run: () => bindRecorded(expectation, kernel),
  };
}

/** A write to sysfs `remove`: the function goes, and with a port everything below it, the lowest first. */
export function planRemove(expectation: PhaseExpectation, kernel: Kernel, device: Device): Plan {
  const leaving = kernel.bus.devices.filter((one) => one === device || isBelow(one, device));
  const staying = (device.group?.members ?? []).map((member) => member.device).filter((one) => !leaving.includes(one));
  return {
    targets: [...leaving, ...staying].map((one) => one.name),
    starts: leaving.filter((one) => !managesDma(one)).map((one) => [one, startOfRemoval(expectation, one)]),
    *run() {
      for (const one of leaving.toReversed()) {
        yield* kernel.bus.remove(one);
      }
    },
  };
}

/** A write to sysfs `rescan`: what is new is found, and its drivers bind. @returns the reason when it cannot be played */
export function planRescan(expectation: PhaseExpectation, kernel: Kernel): Plan | string {
  const { before, phase } = expectation;
  const targets = [...(phase.state?.devices.keys() ?? [])].filter((address) => before?.devices.has(address) !== true);
  if (!targets.every((address) => kernel.functions.has(address))) {
    return "the kernel gave buses new numbers, which is not modelled";
  }
  return {
    targets,
    starts: [],
    *run() {
      yield* kernel.bus.scan();
      yield* kernel.bus.bindPorts();
      yield* bindRecorded(expectation, kernel);
    },
  };
}

function* bindRecorded(expectation: PhaseExpectation, kernel: Kernel): Op<void> {
  for (const [address, { driver }] of expectation.phase.state?.devices ?? []) {
    const device = kernel.deviceAt(address);
    if (device !== undefined && device.driver === undefined && driver !== undefined) {
      yield* kernel.bus.bind(device, driverNamed(driver));
    }
  }
}

function isBelow(device: Device, port: Device): boolean {
  for (let { bridge } = pciDev(device); bridge !== undefined; bridge = bridge.bridge) {
    if (bridge === pciDev(port)) {
      return true;
    }
  }
  return false;
}

function managesDma(device: Device): boolean {
  return device.driver?.managesDma === true;
}

/**
 * Whether a driver was bound shows in the events: it lets go of the default domain. And a CD that is cleared was in use,
 * so the type was not identity any more.
 */
function startOfRemoval(expectation: PhaseExpectation, device: Device): Start {
  const { before } = expectation;
  const recorded = before?.devices.get(device.name);
  const kinds = new Set(expectation.device(device.name).events.map((event) => event.kind));
  const type = recorded?.group === undefined ? undefined : before?.groups.get(recorded.group)?.type;
  return {
    driver: kinds.has("unbind") ? (recorded?.driver ?? "virtio-pci") : "none",
    type: type === "identity" && kinds.has("cd0") ? "auto" : type,
  };
}
