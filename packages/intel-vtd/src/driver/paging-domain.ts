import type { Device, Domain, DomainType, IommuDriver, Op, Trace } from "@iommu-lab/core";
import { PageTable, preempt } from "@iommu-lab/core";
import { ALL_PAGES_ORDER, alignedRange } from "../layout/address-range.ts";
import { CacheTags } from "./cache-tags.ts";
import type { DeviceInfo } from "./device-info.ts";
import type { PagingTable } from "./paging-table.ts";
import type { ServedUnit } from "./served-unit.ts";

/** How the driver changes what is on a RID. */
export interface RidOperations {
  /** `intel_iommu_attach_device()`. */
  attachPaging(domain: PagingDomain, device: Device): Op<void>;
  /** `identity_domain_attach_dev()`. */
  attachIdentity(device: Device): Op<void>;
  /** `blocking_domain_attach_dev()`. */
  attachBlocked(device: Device): Op<void>;
  /** What release does beyond the release domain. */
  release(info: DeviceInfo): Op<void>;
}

/** How the driver attaches paging domains. */
export interface PagingOperations {
  /** `intel_iommu_attach_device()`. */
  attachPaging(domain: PagingDomain, device: Device): Op<void>;
  /** `intel_iommu_set_dev_pasid()`. */
  setPagingPasid(domain: PagingDomain, device: Device, pasid: number, old: Domain | undefined): Op<void>;
}

/** A domain ID and how many users hold it. */
interface HeldId {
  readonly domainId: number;
  users: number;
}

/** A domain with a page table of its own (`struct dmar_domain`). */
export class PagingDomain implements Domain {
  readonly id: number;
  type: DomainType;
  readonly driver: IommuDriver;
  /** First stage or second stage, and how wide. */
  readonly shape: PagingTable;
  /** Where its translations may be cached. */
  readonly tags: CacheTags;
  /** Devices on whose RID it is. */
  readonly devices: DeviceInfo[] = [];
  readonly #trace: Trace;
  readonly #table: PageTable;
  readonly #operations: PagingOperations;
  readonly #ids = new Map<ServedUnit, HeldId>();
  readonly #syncOnMap: boolean;

  constructor(
    id: number,
    type: "DMA" | "DMA-FQ" | "UNMANAGED",
    driver: IommuDriver,
    operations: PagingOperations,
    unit: ServedUnit,
    shape: PagingTable,
    batched: boolean,
  ) {
    const { memory, trace, caps } = unit.iommu;
    this.id = id;
    this.type = type;
    this.driver = driver;
    this.shape = shape;
    this.#operations = operations;
    this.#trace = trace;
    this.#table = new PageTable(memory, shape.format, driver.name, `page table of domain ${id}`);
    this.tags = new CacheTags(`domain ${id}`, shape.stage === "first", batched);
    this.#syncOnMap = caps.rwbf || (shape.stage === "second" && caps.cm);
  }

  /** Physical address of the top table. */
  get root(): number {
    return this.#table.root;
  }

  /** AW code of a second-stage table. */
  get addressWidth(): number {
    return this.shape.format.levels - 2;
  }

  get endPage(): number {
    return this.shape.endPage;
  }

  attach(device: Device): Op<void> {
    return this.#operations.attachPaging(this, device);
  }

  setPasid(device: Device, pasid: number, old: Domain | undefined): Op<void> {
    return this.#operations.setPagingPasid(this, device, pasid, old);
  }

  *map(page: number, target: number, count: number, prot: number): Op<void> {
    yield preempt;
    this.#table.map(page, target, count, prot);
    this.#report(page, count, "map");
    if (this.#syncOnMap) {
      yield* this.tags.flushRangeNotPresent(alignedRange(page, page + count - 1));
    }
  }

  *unmap(page: number, count: number): Op<number> {
    yield preempt;
    const removed = this.#table.unmap(page, count);
    if (removed > 0) {
      this.#report(page, count, "unmap");
      yield* this.tags.flushRange(alignedRange(page, page + count - 1), true);
    }
    return removed;
  }

  /** Source: Linux 6.12 `intel_flush_iotlb_all()`, `cache_tag_flush_all()`. */
  flushAll(): Op<void> {
    return this.tags.flushRange({ page: 0, order: ALL_PAGES_ORDER }, false, "flush-all");
  }

  lookup(page: number): number | undefined {
    return this.#table.lookup(page)?.target;
  }

  free(): void {
    this.#table.free();
  }

  /** The ID under which it is known to a unit. @throws Error when it is not attached there */
  domainId(unit: ServedUnit): number {
    const held = this.#ids.get(unit);
    if (held === undefined) {
      throw new Error(`domain ${this.id} has no ID on ${unit.iommu.name}`);
    }
    return held.domainId;
  }

  /** Takes an ID of a unit, or another hold on it. Source: `domain_attach_iommu()`. @throws KernelError ENOSPC */
  holdId(unit: ServedUnit): void {
    const held = this.#ids.get(unit);
    if (held === undefined) {
      this.#ids.set(unit, { domainId: unit.iommu.domainIds.allocate(), users: 1 });
    } else {
      held.users += 1;
    }
  }

  /** Lets go of it. Source: Linux 7.2 `domain_detach_iommu()`. */
  dropId(unit: ServedUnit): void {
    const held = this.#ids.get(unit);
    if (held !== undefined) {
      held.users -= 1;
      if (held.users === 0) {
        unit.iommu.domainIds.free(held.domainId);
        this.#ids.delete(unit);
      }
    }
  }

  /** The device with this requester ID on whose RID the domain is (`domain_lookup_dev_info()`). */
  deviceAt(unit: ServedUnit, rid: number): DeviceInfo | undefined {
    return this.devices.find((info) => info.unit === unit && info.rid === rid);
  }

  #report(page: number, count: number, what: "map" | "unmap"): void {
    if (this.#trace.active) {
      this.#trace.emit("map:change", { domain: `${this.type}#${this.id}`, page, count, what });
    }
  }
}
