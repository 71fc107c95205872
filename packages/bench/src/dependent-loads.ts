import type { PhysicalMemory } from "@iommu-lab/core";

/**
 * The baseline of a page walk: a chain of 64-bit words in the same memory, each holding the address of the next, as a
 * table's entry holds the address of the next table. Each word has a page of its own.
 *
 * @param length loads per operation
 * @returns a function that follows the chain `count` times
 */
export function dependentLoads(memory: PhysicalMemory, length: number): (count: number) => number {
  const pages = Array.from({ length }, (_, index) => memory.allocate(4096, 4096, "bench", `link ${index}`));
  for (const [index, page] of pages.entries()) {
    const next = pages[(index + 1) % length] ?? page;
    memory.store64(page, next >>> 0, Math.floor(next / 2 ** 32));
  }
  const first = pages[0] ?? 0;
  return (count) => {
    let address = first;
    for (let round = 0; round < count; round += 1) {
      for (let load = 0; load < length; load += 1) {
        memory.load64(address);
        address = memory.hi * 2 ** 32 + memory.lo;
      }
    }
    return address;
  };
}
