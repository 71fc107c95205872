import { PhysicalMemory } from "@iommu-lab/core";
import { dependentLoads } from "../dependent-loads.ts";
import type { Bench } from "../measure.ts";

/** A 64-bit load of physical memory against a load of a plain typed array: the price of sparse memory. */
export function memoryLoad(): Bench {
  const memory = new PhysicalMemory();
  const plain = new Float64Array(4 * 512);
  for (let link = 0; link < 4; link += 1) {
    plain[link * 512] = ((link + 1) % 4) * 512;
  }
  return {
    title: "4 dependent 64-bit loads",
    run: dependentLoads(memory, 4),
    baselineTitle: "4 of a plain array",
    baseline(count) {
      let at = 0;
      for (let load = 0; load < count * 4; load += 1) {
        at = plain[at] ?? 0;
      }
      return at;
    },
  };
}
