import type { Op } from "../sim/op.ts";
import type { Trace } from "../sim/trace.ts";
import { Device } from "./device.ts";
import type { LifecycleHooks } from "./hooks.ts";
import type { KernelProfile } from "./profile.ts";
import type { BusDevice, IommuDriver } from "./types.ts";

/** Linux's IOMMU core of one platform. */
export class IommuCore {
  readonly kernel: KernelProfile;
  readonly trace: Trace;
  readonly hooks: readonly LifecycleHooks[];
  readonly devices: Device[] = [];
  #driver: IommuDriver | undefined;

  constructor(kernel: KernelProfile, trace: Trace, hooks: readonly LifecycleHooks[]) {
    this.kernel = kernel;
    this.trace = trace;
    this.hooks = hooks;
  }

  // eslint-disable-next-line require-yield
  *registerDriver(driver: IommuDriver): Op<void> {
    this.#driver = driver;
  }

  // eslint-disable-next-line require-yield
  *addDevice(bus: BusDevice): Op<Device> {
    const device = new Device(this.devices.length + 1, bus);
    this.devices.push(device);
    return device;
  }

  get driver(): IommuDriver | undefined {
    return this.#driver;
  }
}
