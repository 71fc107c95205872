import { type Digest, KernelError } from "@iommu-lab/core";

/** TLB tags of stage-1 domains, shared by all SMMUs; the lowest free one is handed out (`arm_smmu_asid_xa`). */
export class AsidAllocator {
  readonly #used = new Set<number>();

  /** @param bits ASID bits of the SMMU @throws KernelError EBUSY when all are in use */
  allocate(bits: number): number {
    for (let asid = 1; asid < 2 ** bits; asid += 1) {
      if (!this.#used.has(asid)) {
        this.#used.add(asid);
        return asid;
      }
    }
    throw new KernelError("EBUSY", "no ASID is free");
  }

  /** Writes which are in use. */
  digest(into: Digest): void {
    into.number(this.#used.size);
    for (const asid of [...this.#used].toSorted((a, b) => a - b)) {
      into.number(asid);
    }
  }

  /** Gives one back. */
  free(asid: number): void {
    this.#used.delete(asid);
  }
}
