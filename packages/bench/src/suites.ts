import type { Bench } from "./measure.ts";
import { memoryLoad } from "./suites/memory.ts";
import { vtdBenches } from "./suites/vtd.ts";

/** Every bench by name, as `area:what`. Each builds its subject anew. */
export const suites: Readonly<Record<string, () => Bench>> = {
  "memory:load": memoryLoad,
  ...vtdBenches,
};
