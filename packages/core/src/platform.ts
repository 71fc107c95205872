import { IommuCore } from "./iommu/core.ts";
import type { KernelProfile } from "./iommu/profile.ts";
import { Clock } from "./sim/clock.ts";
import { PlatformHost } from "./sim/container.ts";
import type { MemoryOptions } from "./sim/memory.ts";
import { PhysicalMemory } from "./sim/memory.ts";
import { Mmio } from "./sim/mmio.ts";
import type { Op } from "./sim/op.ts";
import { Scheduler } from "./sim/scheduler.ts";
import { Trace } from "./sim/trace.ts";
import type { Plugin } from "./tokens.ts";
import { BOOT, CLOCK, HOOKS, IOMMU_CORE, KERNEL, MEMORY, MMIO, SCHEDULER, TRACE } from "./tokens.ts";

/** Options of {@link createPlatform}. */
export interface PlatformOptions {
  /** The kernel that boots. */
  readonly kernel: KernelProfile;
  /** In the order in which they register. */
  readonly plugins: readonly Plugin[];
  /** Size and place of RAM. */
  readonly memory?: MemoryOptions;
}

/** One machine: hardware, the kernel's IOMMU core, and the simulator that moves them. */
export interface Platform {
  /** Its services. */
  readonly host: PlatformHost;
  /** The kernel that boots. */
  readonly kernel: KernelProfile;
  /** Virtual time. */
  readonly clock: Clock;
  /** What happens. */
  readonly trace: Trace;
  /** What moves it. */
  readonly scheduler: Scheduler;
  /** RAM. */
  readonly memory: PhysicalMemory;
  /** Register windows. */
  readonly mmio: Mmio;
  /** Linux's IOMMU core. */
  readonly iommu: IommuCore;
  /** Boots the kernel: firmware, enumeration, IOMMU drivers. Once. */
  boot(): void;
  /** Runs one operation to its end. */
  run<T>(op: Op<T>, name?: string): T;
}

/**
 * Builds a machine that is powered on and not yet booted.
 *
 * @example
 * ```ts
 * const platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), cxl(), smmuv3({ ats: true })] });
 * platform.boot();
 * ```
 */
export function createPlatform(options: PlatformOptions): Platform {
  const host = new PlatformHost();
  const { kernel } = options;
  host.provide(KERNEL, () => kernel);
  host.provide(MEMORY, () => new PhysicalMemory(options.memory));
  host.bind(CLOCK, Clock);
  host.bind(TRACE, Trace, CLOCK);
  host.bind(SCHEDULER, Scheduler, CLOCK, TRACE);
  host.bind(MMIO, Mmio, TRACE);
  host.provide(IOMMU_CORE, () => new IommuCore(kernel, host.get(TRACE), host.all(HOOKS)));
  for (const plugin of options.plugins) {
    plugin.register(host);
  }
  const scheduler = host.get(SCHEDULER);
  let booted = false;
  return {
    host,
    kernel,
    scheduler,
    clock: host.get(CLOCK),
    trace: host.get(TRACE),
    memory: host.get(MEMORY),
    mmio: host.get(MMIO),
    iommu: host.get(IOMMU_CORE),
    boot() {
      if (booted) {
        throw new Error("the platform is booted already");
      }
      booted = true;
      const steps = host.all(BOOT).toSorted((a, b) => a.order - b.order);
      for (const step of steps) {
        scheduler.run(step.run(host), step.name);
      }
    },
    run: (op, name) => scheduler.run(op, name),
  };
}
