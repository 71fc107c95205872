import { PROT_MMIO, PROT_NOEXEC, PROT_WRITE } from "../page-table/format.ts";
import type { Digest } from "../sim/digest.ts";
import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import type { Group } from "./group.ts";
import { errnoOf, groupOf, iommuOf } from "./state.ts";
import type { Domain, ReservedRegion } from "./types.ts";

interface PageRange {
  readonly page: number;
  readonly count: number;
}

/** Allocations of fewer pages are rounded up to a power of two. Source: Linux 7.2 `alloc_iova_fast()`. */
const CACHED_PAGES = 32;

/** Pages of a DMA-API domain that are handed out (the IOVA cookie). */
class IovaSpace {
  readonly #reserved: readonly ReservedRegion[];
  readonly #used: PageRange[] = [];
  /** Doorbell page → IOVA page. */
  readonly #doorbells = new Map<number, number>();

  /** @param regions of the group's first device: the kernel reserves them when the domain is set up, and no others */
  constructor(regions: readonly ReservedRegion[]) {
    this.#reserved = regions.filter(({ type }) => type !== "sw-msi");
  }

  /**
   * Highest free range below `limit`, aligned to its size.
   *
   * Source: Linux 7.2 `alloc_iova_fast()`, `__alloc_and_insert_iova_range()`.
   *
   * @returns its first page; -1 when full
   */
  allocate(count: number, limit: number): number {
    const power = 2 ** Math.ceil(Math.log2(count));
    const size = count < CACHED_PAGES ? power : count;
    let page = alignDown(limit - size, power);
    for (let hit = this.#overlap(page, size); hit !== undefined; hit = this.#overlap(page, size)) {
      page = alignDown(hit.page - size, power);
    }
    if (page < 1) {
      return -1;
    }
    this.#used.push({ page, count: size });
    return page;
  }

  free(page: number): void {
    const index = this.#used.findIndex((one) => one.page === page);
    if (index >= 0) {
      this.#used.splice(index, 1);
    }
  }

  /** Where the doorbell is reachable already; the interrupt window of the hardware maps to itself. */
  doorbell(page: number): number | undefined {
    const window = this.#reserved.find((one) => one.type === "msi" && page >= one.page && page < one.page + one.count);
    return window === undefined ? this.#doorbells.get(page) : page;
  }

  setDoorbell(page: number, iova: number): void {
    this.#doorbells.set(page, iova);
  }

  digest(into: Digest): void {
    into.number(this.#used.length);
    for (const { page, count } of this.#used) {
      into.number(page);
      into.number(count);
    }
    for (const [page, iova] of this.#doorbells) {
      into.number(page);
      into.number(iova);
    }
  }

  #overlap(page: number, count: number): PageRange | undefined {
    const overlaps = (one: PageRange): boolean => page < one.page + one.count && one.page < page + count;
    return this.#used.find(overlaps) ?? this.#reserved.find(overlaps);
  }
}

function alignDown(page: number, align: number): number {
  return Math.floor(page / align) * align;
}

/** PCI devices are given 32-bit addresses first. Source: Linux 7.2 `iommu_dma_alloc_iova()`. */
const LIMIT_32BIT = 2 ** 20;

/** How the DMA API of a kernel works. */
export interface DmaApiOptions {
  /** Runs before each mapping: attaches a device whose attach was put off. */
  readonly beforeMap?: (device: Device, domain: Domain) => Op<void>;
  /** What an MSI gets whose domain can map no doorbell. Default: it is refused. */
  readonly msiWithoutWindow?: "refused" | "silent";
}

/**
 * What a driver calls to make memory reachable for its device. Addresses come from the top of the lower 4 GiB down, as
 * the kernel's allocator gives them. With an IDENTITY default domain nothing is mapped and the address is the physical
 * one.
 */
export class DmaApi {
  /** Lives and dies with the domain. */
  readonly #spaces = new WeakMap<Domain, IovaSpace>();
  readonly #options: DmaApiOptions;

  constructor(options: DmaApiOptions = {}) {
    this.#options = options;
  }

  /**
   * Maps `count` pages for the device.
   *
   * Source: Linux 7.2 `iommu_dma_map_phys()`.
   *
   * @param page host page number
   * @param prot union of the `PROT_` bits
   * @returns the page number the device must use
   * @throws KernelError ENODEV without default domain, ENOMEM when no address is free, EBUSY when the device's attach was
   * put off and it is staged for reset; what the domain's map throws
   */
  *map(device: Device, page: number, count: number, prot: number): Op<number> {
    const domain = dmaDomain(device);
    if (domain.type === "IDENTITY" || domain.map === undefined) {
      return page;
    }
    if (this.#options.beforeMap !== undefined) {
      yield* this.#options.beforeMap(device, domain);
    }
    return yield* this.#mapAnywhere(groupOf(device), domain, page, count, prot);
  }

  /** Unmaps what {@link DmaApi.map} returned; IOTLB and ATCs are invalidated before the address is free again. */
  *unmap(device: Device, iova: number, count: number): Op<void> {
    const domain = dmaDomain(device);
    if (domain.type === "IDENTITY" || domain.unmap === undefined) {
      return;
    }
    yield* domain.unmap(iova, count);
    this.#space(groupOf(device), domain).free(iova);
  }

  /**
   * An interrupt is allocated for a device whose MSIs the IOMMU translates (Arm): makes the doorbell reachable.
   *
   * Source: Linux 7.2 `iommu_dma_prepare_msi()`, `iommu_dma_get_msi_page()`.
   *
   * @param doorbell host page number of the doorbell
   * @returns the page number to put into the message
   * @throws KernelError EOPNOTSUPP when the RID's domain cannot map it (BLOCKED, or a user's domain without a window;
   * 6.12 and 6.1 give the physical page instead, which nobody maps), ENOMEM when it could but does not
   */
  *prepareMsi(device: Device, doorbell: number): Op<number> {
    const { group } = device;
    if (group === undefined) {
      return doorbell;
    }
    return yield* withLock(group.mutex, () => this.#mapDoorbell(group, doorbell));
  }

  /** Writes which addresses of a domain are handed out. */
  digest(domain: Domain, into: Digest): void {
    this.#spaces.get(domain)?.digest(into);
  }

  *#mapDoorbell(group: Group, doorbell: number): Op<number> {
    const { domain } = group;
    if (domain === undefined || domain.type === "IDENTITY") {
      return doorbell;
    }
    if (domain.type !== "DMA" && domain.type !== "DMA-FQ") {
      if (this.#options.msiWithoutWindow === "silent") {
        return doorbell;
      }
      throw new KernelError("EOPNOTSUPP", `group ${group.id} is on ${domain.type}: an MSI cannot be allocated`);
    }
    const space = this.#space(group, domain);
    const known = space.doorbell(doorbell);
    if (known !== undefined) {
      return known;
    }
    try {
      const iova = yield* this.#mapAnywhere(group, domain, doorbell, 1, PROT_WRITE | PROT_NOEXEC | PROT_MMIO);
      space.setDoorbell(doorbell, iova);
      return iova;
    } catch (error) {
      throw new KernelError("ENOMEM", `the doorbell of group ${group.id}: ${errnoOf(error).message}`);
    }
  }

  *#mapAnywhere(group: Group, domain: Domain, page: number, count: number, prot: number): Op<number> {
    const space = this.#space(group, domain);
    const iova = space.allocate(count, Math.min(LIMIT_32BIT, domain.endPage ?? LIMIT_32BIT));
    if (iova < 0) {
      throw new KernelError("ENOMEM", `no IOVA for ${count} pages in group ${group.id}`);
    }
    try {
      if (domain.map !== undefined) {
        yield* domain.map(iova, page, count, prot);
      }
    } catch (error) {
      space.free(iova);
      throw error;
    }
    return iova;
  }

  #space(group: Group, domain: Domain): IovaSpace {
    const known = this.#spaces.get(domain);
    if (known !== undefined) {
      return known;
    }
    const first = group.members[0]?.device;
    const regions = first === undefined ? [] : iommuOf(first).driver.reservedRegions(first);
    const created = new IovaSpace(regions);
    this.#spaces.set(domain, created);
    return created;
  }
}

function dmaDomain(device: Device): Domain {
  const domain = groupOf(device).defaultDomain;
  if (domain === undefined) {
    throw new KernelError("ENODEV", `${device.name} has no default domain`);
  }
  return domain;
}
