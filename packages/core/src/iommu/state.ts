import { KernelError } from "../sim/errors.ts";
import type { Lock } from "../sim/lock.ts";
import type { Trace } from "../sim/trace.ts";
import type { Device, DeviceIommu } from "./device.ts";
import type { Group } from "./group.ts";
import type { LifecycleHooks } from "./hooks.ts";
import type { KernelProfile } from "./profile.ts";
import type { CoreRules } from "./rules.ts";
import type { Domain, IommuDriver } from "./types.ts";

/** What the flows of the IOMMU core share. */
export interface CoreState {
  readonly kernel: KernelProfile;
  /** Which version's rules are in force. */
  readonly rules: CoreRules;
  readonly trace: Trace;
  readonly hooks: readonly LifecycleHooks[];
  readonly devices: Device[];
  readonly groups: Group[];
  /** The registered IOMMU driver. */
  driver: IommuDriver | undefined;
  /** `iommu_probe_device_lock`: one device is probed at a time. */
  readonly probeLock: Lock;
  nextDevice: number;
}

/** `IDENTITY#3` and the like. */
export function domainName(domain: Domain | undefined): string {
  return domain === undefined ? "none" : `${domain.type}#${domain.id}`;
}

/** The kernel's WARN: an event; the flow goes on. */
export function warn(state: CoreState, where: string, what: string): void {
  if (state.trace.active) {
    state.trace.emit("warn", { where, what });
  }
}

/** The device's group. @throws KernelError ENODEV without one */
export function groupOf(device: Device): Group {
  if (device.group === undefined) {
    throw new KernelError("ENODEV", `${device.name} is in no IOMMU group`);
  }
  return device.group;
}

/** `dev->iommu` of a probed device. */
export function iommuOf(device: Device): DeviceIommu {
  if (device.iommu === undefined) {
    throw new KernelError("ENODEV", `no IOMMU driver serves ${device.name}`);
  }
  return device.iommu;
}

/** What a step threw, as the errno it ended with; an oops and a bug are not errnos and are thrown on. */
export function errnoOf(error: unknown): KernelError {
  if (error instanceof KernelError) {
    return error;
  }
  throw error;
}

/** Whether the driver keeps this one object for all (its IDENTITY or BLOCKED). */
function isStatic(domain: Domain): boolean {
  return domain === domain.driver.identity || domain === domain.driver.blocked;
}

/** Gives a domain back unless it is static. */
export function freeDomain(domain: Domain | undefined): void {
  if (domain !== undefined && !isStatic(domain)) {
    domain.free?.();
  }
}
