import type { IommuCore, Mmio, PhysicalMemory, Trace } from "@iommu-lab/core";
import type { DriverVersion } from "./version.ts";
import type { CommandFilter } from "./invalidation-site.ts";

/** What the driver reaches the world through: memory, registers, the core it serves, and the trace. */
export interface DriverPorts {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly trace: Trace;
  readonly core: IommuCore;
  /** The driver of the kernel that runs. */
  readonly version: DriverVersion;
  /** For tests: takes invalidations away. Absent = all are sent. */
  readonly filter?: CommandFilter | undefined;
}

/** Owner of the driver's allocations. */
export const OWNER = "arm-smmu-v3";
