import { Lock } from "@iommu-lab/core";
import type { DomainType, IommuDriver, PageTable } from "@iommu-lab/core";
import type { DeviceData } from "./device-data.ts";
import type { AmdUnit } from "./unit.ts";

/** Which page table a domain has: host (v1), guest (v2), or none of its own. */
export type TableMode = "v1" | "v2" | "none";

/** A PASID of a device to which an SVA domain is attached (`struct pdom_dev_data`). */
export interface PasidAttachment {
  readonly device: DeviceData;
  readonly pasid: number;
}

/**
 * What the driver keeps for every domain but BLOCKED (`struct protection_domain`).
 */
export class ProtectionDomain {
  /** Number on the platform, for printing. */
  readonly id: number;
  type: DomainType;
  readonly driver: IommuDriver;
  /** DomainID in DTEs and commands, unless a device with a GCR3 table uses its own. */
  readonly domainId: number;
  readonly mode: TableMode;
  /** Its page table. */
  readonly table: PageTable | undefined;
  /** `domain->lock`. */
  readonly lock: Lock;
  /** Devices attached, the newest first. */
  readonly devices: DeviceData[] = [];
  /** PASIDs attached (SVA), the newest first. */
  readonly pasids: PasidAttachment[] = [];
  /** Devices per unit. */
  readonly #units = new Map<AmdUnit, number>();

  constructor(
    driver: IommuDriver,
    id: number,
    type: DomainType,
    domainId: number,
    mode: TableMode,
    table: PageTable | undefined,
  ) {
    this.driver = driver;
    this.id = id;
    this.type = type;
    this.domainId = domainId;
    this.mode = mode;
    this.table = table;
    this.lock = new Lock(`protection domain ${id} lock`);
  }

  /** Whether PASIDs can live beside it: v2 or IDENTITY. Source: Linux 7.2 `pdom_is_sva_capable()`. */
  get svaCapable(): boolean {
    return this.mode === "v2" || this.type === "IDENTITY";
  }

  /** Units behind which it has devices, in their order. */
  get units(): readonly AmdUnit[] {
    return [...this.#units.keys()].toSorted((a, b) => a.index - b.index);
  }

  /** Counts a device behind a unit. Source: Linux 7.2 `pdom_attach_iommu()`. */
  attachUnit(unit: AmdUnit): void {
    this.#units.set(unit, (this.#units.get(unit) ?? 0) + 1);
  }

  /** Source: Linux 7.2 `pdom_detach_iommu()`. */
  detachUnit(unit: AmdUnit): void {
    const count = this.#units.get(unit) ?? 0;
    if (count > 1) {
      this.#units.set(unit, count - 1);
    } else {
      this.#units.delete(unit);
    }
  }
}
