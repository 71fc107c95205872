import { PROT_MMIO, PROT_NOEXEC, PROT_WRITE } from "../page-table/format.ts";
import { KernelError } from "../sim/errors.ts";
import type { Op } from "../sim/op.ts";
import type { Device } from "./device.ts";
import { groupOf, iommuOf } from "./state.ts";
import type { Domain } from "./types.ts";

/** Pages of a DMA-API domain that are handed out (the IOVA cookie). */
class IovaSpace {
  readonly #used: { page: number; count: number }[] = [];
  /** Doorbell page → IOVA page. */
  readonly doorbells = new Map<number, number>();

  /** Highest free range at or below `limit`, outside the reserved ranges; -1 when full. */
  allocate(count: number, limit: number, reserved: readonly { page: number; count: number }[]): number {
    let page = limit - count;
    for (;;) {
      const at = page;
      const hit = [...this.#used, ...reserved].find((one) => at < one.page + one.count && one.page < at + count);
      if (hit === undefined) {
        break;
      }
      page = hit.page - count;
    }
    if (page < 1) {
      return -1;
    }
    this.#used.push({ page, count });
    return page;
  }

  free(page: number): void {
    const index = this.#used.findIndex((one) => one.page === page);
    if (index >= 0) {
      this.#used.splice(index, 1);
    }
  }
}

/** PCI devices are given 32-bit addresses first. Source: Linux 7.2 `iommu_dma_alloc_iova()`. */
const LIMIT_32BIT = 2 ** 20;

/**
 * What a driver calls to make memory reachable for its device. Addresses come from the top of the lower 4 GiB down, as
 * the kernel's allocator gives them. With an IDENTITY default domain nothing is mapped and the address is the physical
 * one.
 */
export class DmaApi {
  readonly #spaces = new WeakMap<Domain, IovaSpace>();

  /**
   * Maps `count` pages for the device.
   *
   * Source: Linux 7.2 `iommu_dma_map_phys()`.
   *
   * @param page host page number
   * @param prot union of the `PROT_` bits
   * @returns the page number the device must use
   * @throws KernelError ENODEV without default domain, ENOMEM when no address is free
   */
  *map(device: Device, page: number, count: number, prot: number): Op<number> {
    const domain = dmaDomain(device);
    if (domain.type === "IDENTITY" || domain.map === undefined) {
      return page;
    }
    const space = this.#space(domain);
    const limit = Math.min(LIMIT_32BIT, domain.endPage ?? LIMIT_32BIT);
    const iova = space.allocate(count, limit, iommuOf(device).driver.reservedRegions(device));
    if (iova < 0) {
      throw new KernelError("ENOMEM", `no IOVA for ${count} pages of ${device.name}`);
    }
    yield* domain.map(iova, page, count, prot);
    return iova;
  }

  /** Unmaps what {@link DmaApi.map} returned; IOTLB and ATCs are invalidated before the address is free again. */
  *unmap(device: Device, iova: number, count: number): Op<void> {
    const domain = dmaDomain(device);
    if (domain.type === "IDENTITY" || domain.unmap === undefined) {
      return;
    }
    yield* domain.unmap(iova, count);
    this.#space(domain).free(iova);
  }

  /**
   * An interrupt is allocated for a device whose MSIs the IOMMU translates (Arm): makes the doorbell reachable.
   *
   * Source: Linux 7.2 `iommu_dma_prepare_msi()`.
   *
   * @param doorbell host page number of the doorbell
   * @returns the page number to put into the message
   * @throws KernelError EOPNOTSUPP when the RID's domain cannot map it (BLOCKED, or a user's domain without a window)
   */
  *prepareMsi(device: Device, doorbell: number): Op<number> {
    const domain = device.group?.domain;
    if (domain === undefined || domain.type === "IDENTITY") {
      return doorbell;
    }
    if ((domain.type !== "DMA" && domain.type !== "DMA-FQ") || domain.map === undefined) {
      throw new KernelError("EOPNOTSUPP", `an MSI cannot be allocated while ${device.name} is on ${domain.type}`);
    }
    const space = this.#space(domain);
    const known = space.doorbells.get(doorbell);
    if (known !== undefined) {
      return known;
    }
    const limit = Math.min(LIMIT_32BIT, domain.endPage ?? LIMIT_32BIT);
    const iova = space.allocate(1, limit, iommuOf(device).driver.reservedRegions(device));
    if (iova < 0) {
      throw new KernelError("ENOMEM", `no IOVA for the doorbell of ${device.name}`);
    }
    yield* domain.map(iova, doorbell, 1, PROT_WRITE | PROT_NOEXEC | PROT_MMIO);
    space.doorbells.set(doorbell, iova);
    return iova;
  }

  #space(domain: Domain): IovaSpace {
    const known = this.#spaces.get(domain);
    if (known !== undefined) {
      return known;
    }
    const created = new IovaSpace();
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
