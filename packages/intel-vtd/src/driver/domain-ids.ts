import { KernelError } from "@iommu-lab/core";

/** Domain ID of pass-through entries and of first-stage entries of processes (`FLPT_DEFAULT_DID`). */
export const FLPT_DEFAULT_DID = 1;
/** First ID handed out: 0 tags invalid entries in caching mode, 1 is {@link FLPT_DEFAULT_DID}. */
const FIRST = 2;

/** The domain IDs of one unit: always the lowest that is free (`domain_ida`). */
export class DomainIds {
  readonly #unit: string;
  readonly #count: number;
  readonly #used = new Set<number>();

  /** @param count IDs the unit has, 0 included */
  constructor(unit: string, count: number) {
    this.#unit = unit;
    this.#count = count;
  }

  /** Takes one. @throws KernelError ENOSPC */
  allocate(): number {
    for (let id = FIRST; id < this.#count; id += 1) {
      if (!this.#used.has(id)) {
        this.#used.add(id);
        return id;
      }
    }
    throw new KernelError("ENOSPC", `${this.#unit} has no free domain ID`);
  }

  /** Gives one back. */
  free(id: number): void {
    this.#used.delete(id);
  }
}
