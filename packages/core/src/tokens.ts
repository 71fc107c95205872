import type { IommuCore } from "./iommu/core.ts";
import type { LifecycleHooks } from "./iommu/hooks.ts";
import type { KernelProfile } from "./iommu/profile.ts";
import type { Clock } from "./sim/clock.ts";
import type { PlatformHost, Token } from "./sim/container.ts";
import { token } from "./sim/container.ts";
import type { PhysicalMemory } from "./sim/memory.ts";
import type { Mmio } from "./sim/mmio.ts";
import type { Op } from "./sim/op.ts";
import type { Scheduler } from "./sim/scheduler.ts";
import type { Trace } from "./sim/trace.ts";

/** Brings services into one platform's container. */
export interface Plugin {
  /** Such as `pci`, `arm-smmuv3`. */
  readonly name: string;
  /** Registers services; resolves none. */
  register(host: PlatformHost): void;
}

/** Something that happens at boot. Steps run in the order of `order`, then of registration. */
export interface BootStep {
  /** Name of the operation in the trace. */
  readonly name: string;
  /** 100 = firmware, 200 = bus enumeration, 300 = IOMMU drivers. */
  readonly order: number;
  /** What is done. */
  run(host: PlatformHost): Op<void>;
}

/** The virtual clock. */
export const CLOCK: Token<Clock> = token("core.clock");
/** The trace. */
export const TRACE: Token<Trace> = token("core.trace");
/** The scheduler. */
export const SCHEDULER: Token<Scheduler> = token("core.scheduler");
/** Physical memory. */
export const MEMORY: Token<PhysicalMemory> = token("core.memory");
/** Register windows. */
export const MMIO: Token<Mmio> = token("core.mmio");
/** The kernel that boots. */
export const KERNEL: Token<KernelProfile> = token("core.kernel");
/** Linux's IOMMU core. */
export const IOMMU_CORE: Token<IommuCore> = token("core.iommu");
/** Lifecycle hooks; a list. */
export const HOOKS: Token<readonly LifecycleHooks[]> = token("core.hooks");
/** What happens at boot; a list. */
export const BOOT: Token<readonly BootStep[]> = token("core.boot");
