import type { Digest, Digestible } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";

const MAX_DOMAIN_ID = 65536;

/**
 * Domain IDs as hardware tags translations with them: the lowest free one is taken, so a freed one soon comes back.
 *
 * Source: Linux 7.2 `amd_iommu_pdom_id_alloc()`.
 */
export class DomainIds implements Digestible {
  readonly #used = new Set<number>();

  /** @throws KernelError ENOSPC when all are taken */
  allocate(): number {
    for (let id = 1; id < MAX_DOMAIN_ID; id += 1) {
      if (!this.#used.has(id)) {
        this.#used.add(id);
        return id;
      }
    }
    throw new KernelError("ENOSPC", "amd_iommu_pdom_id_alloc: no domain ID is free");
  }

  /** Gives one back. */
  free(id: number): void {
    this.#used.delete(id);
  }

  digest(into: Digest): void {
    for (const id of [...this.#used].toSorted((a, b) => a - b)) {
      into.number(id);
    }
  }
}
