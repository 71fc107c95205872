import type { BusDevice, Device, Group, IommuCore, Op, Platform } from "@iommu-lab/core";
import { KernelError, Recorder, createPlatform, linux } from "@iommu-lab/core";
import { FakeDriver, busDevice } from "./fake-driver.ts";

export interface MachineOptions {
  /** Default `7.2`. */
  readonly version?: string;
  readonly cmdline?: string;
  readonly names?: readonly string[];
  readonly bus?: Partial<BusDevice>;
  readonly setup?: (driver: FakeDriver) => void;
}

export interface Machine {
  readonly platform: Platform;
  readonly core: IommuCore;
  readonly driver: FakeDriver;
  /** The first device. */
  readonly device: Device;
  readonly devices: readonly Device[];
  run<T>(op: Op<T>): T;
  /** The kernel functions that warned since the machine was made, in order. */
  warnings(): string[];
}

/** A platform that has booted with the fake driver; the driver's log starts empty. */
export function machine(options: MachineOptions = {}): Machine {
  const platform = createPlatform({
    kernel: linux(options.version ?? "7.2", { cmdline: options.cmdline ?? "" }),
    plugins: [],
  });
  const driver = new FakeDriver();
  options.setup?.(driver);
  const devices = (options.names ?? ["a"]).map((name) =>
    platform.run(platform.iommu.addDevice(busDevice(name, options.bus))),
  );
  platform.run(platform.iommu.registerDriver(driver));
  driver.log.length = 0;
  const [device] = devices;
  if (device === undefined) {
    throw new Error("no device");
  }
  const recorder = new Recorder(platform.trace);
  const warnings = (): string[] => recorder.events.flatMap((event) => (event.type === "warn" ? [event.where] : []));
  return { platform, core: platform.iommu, driver, device, devices, run: platform.run, warnings };
}

/** A machine with the devices `a` and `b` in one group. */
export function pair(options: Omit<MachineOptions, "names"> = {}): Machine & { a: Device; b: Device } {
  const made = machine({
    ...options,
    names: ["a", "b"],
    setup(driver) {
      share(driver, "b");
      options.setup?.(driver);
    },
  });
  const [a, b] = made.devices;
  if (a === undefined || b === undefined) {
    throw new Error("no devices");
  }
  return { ...made, a, b };
}

/** Puts the named device into the group of the device whose group was asked for before it. */
export function share(driver: FakeDriver, name: string): void {
  driver.hints.set(name, () => driver.asked.at(-1)?.group ?? "new");
}

export function groupOf(device: Device): Group {
  if (device.group === undefined) {
    throw new Error(`${device.name} has no group`);
  }
  return device.group;
}

/** The errno that `body` ends with; `0` when it succeeds. */
export function errno(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof KernelError) {
      return error.errno;
    }
    throw error;
  }
  return "0";
}
