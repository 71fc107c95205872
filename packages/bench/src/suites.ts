import type { Bench } from "./measure.ts";
import { amdBenches } from "./suites/amd.ts";
import { memoryLoad } from "./suites/memory.ts";
import { configFork, dumpDecode, dumpLinear } from "./suites/pci.ts";
import { smmuBenches } from "./suites/smmu.ts";
import { vtdBenches } from "./suites/vtd.ts";

/** Every bench by name, as `area:what`. Each builds its subject anew. */
export const suites: Readonly<Record<string, () => Bench>> = {
  "memory:load": memoryLoad,
  "pci:dump": dumpDecode,
  "pci:dump-linear": dumpLinear,
  "pci:config-fork": configFork,
  ...amdBenches,
  ...smmuBenches,
  ...vtdBenches,
};
