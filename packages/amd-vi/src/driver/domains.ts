import type { Device, Domain, IommuDriver, Op, Pasid, ProcessMemory } from "@iommu-lab/core";
import { KernelError, PageTable, preempt, withLock, x86_64 } from "@iommu-lab/core";
import { amdV1 } from "../layout/host-page-table.ts";
import { attachDomain61 } from "./attachment-6-1.ts";
import { attachDomain, blockDevice } from "./attachment.ts";
import type { DeviceData } from "./device-data.ts";
import { flushDomain, flushDomainPages, flushPasidPages } from "./invalidation.ts";
import { clearPasid, removePasid, setPasid } from "./pasid-attachment.ts";
import type { TableMode } from "./protection-domain.ts";
import { ProtectionDomain } from "./protection-domain.ts";
import type { DriverState } from "./state.ts";

function bind(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  return state.version.attach === "6.1" ? attachDomain61(state, device, domain) : attachDomain(state, device, domain);
}

/**
 * The IDENTITY domain of all devices (7.2), or of one group.
 *
 * Source: Linux 7.2 `identity_domain`, `amd_iommu_identity_attach()`; 6.12 `protection_domain_alloc()`.
 */
export class IdentityDomain extends ProtectionDomain implements Domain {
  readonly #state: DriverState;

  constructor(state: DriverState, driver: IommuDriver) {
    super(driver, state.core.newDomainId(), "IDENTITY", state.domainIds.allocate(), "none", undefined);
    this.#state = state;
  }

  /** Binds a device. @throws KernelError as {@link attachDomain} */
  attach(device: Device): Op<void> {
    return bind(this.#state, this.#state.dataOf(device), this);
  }

  /** Gives its domain ID back. */
  free(): void {
    this.#state.domainIds.free(this.domainId);
  }
}

/** The one BLOCKED domain. It has no domain ID and no list of devices. Source: Linux 7.2 `blocked_domain`. */
export class BlockedDomain implements Domain {
  readonly id: number;
  readonly type = "BLOCKED";
  readonly driver: IommuDriver;
  readonly #state: DriverState;

  constructor(state: DriverState, driver: IommuDriver) {
    this.id = state.core.newDomainId();
    this.driver = driver;
    this.#state = state;
  }

  /** Blocks a device's RID, and with it its PASIDs. */
  attach(device: Device): Op<void> {
    return blockDevice(this.#state, this.#state.dataOf(device));
  }

  /** Takes a PASID away from the domain it had. @throws KernelOops when the device's GCR3 table is gone */
  *setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    if (old instanceof ProtectionDomain) {
      yield* removePasid(this.#state, this.#state.dataOf(device), old, pasid);
    }
  }
}

/**
 * A domain with a page table of its own: host (v1) or guest (v2). It cannot be attached to PASIDs.
 *
 * Source: Linux 7.2 `amdv1_ops`, `amdv2_ops`.
 */
export class PagingDomain extends ProtectionDomain implements Domain {
  readonly endPage: number;
  readonly #state: DriverState;
  readonly #table: PageTable;

  constructor(
    state: DriverState,
    driver: IommuDriver,
    type: "DMA" | "DMA-FQ" | "UNMANAGED",
    mode: Exclude<TableMode, "none">,
  ) {
    const format = mode === "v1" ? amdV1 : x86_64;
    const table = new PageTable(state.ports.memory, format, "amd-iommu", `${mode} page table`);
    super(driver, state.core.newDomainId(), type, state.domainIds.allocate(), mode, table);
    this.endPage = format.endPage;
    this.#state = state;
    this.#table = table;
  }

  /** Binds a device. @throws KernelError as {@link attachDomain} */
  attach(device: Device): Op<void> {
    return bind(this.#state, this.#state.dataOf(device), this);
  }

  /** Maps pages. Only with NpCache anything is invalidated. @throws KernelError EINVAL, EEXIST */
  *map(page: number, target: number, count: number, prot: number): Op<void> {
    yield preempt;
    this.#table.map(page, target, count, prot);
    this.#trace("map", page, count);
    if (this.#state.npCache) {
      yield* withLock(this.lock, () => flushDomainPages("map", this, page, count, true, true));
    }
  }

  /** Unmaps pages and invalidates IOTLBs and ATCs. @returns how many pages were mapped */
  *unmap(page: number, count: number): Op<number> {
    yield preempt;
    const removed = this.#table.unmap(page, count);
    this.#trace("unmap", page, count);
    if (removed > 0) {
      const { npCache, version } = this.#state;
      yield* withLock(this.lock, () =>
        flushDomainPages("unmap", this, page, count, version.unmapFlushesDirectories, npCache),
      );
    }
    return removed;
  }

  /** Invalidates everything of the domain. Source: Linux 6.12 `amd_iommu_flush_iotlb_all()`. */
  flushAll(): Op<void> {
    return withLock(this.lock, () => flushDomain("flush-all", this, this.#state.npCache));
  }

  /** The host page a page is mapped to. */
  lookup(page: number): number | undefined {
    return this.#table.lookup(page)?.target;
  }

  /** Gives table and domain ID back. Source: Linux 7.2 `amd_iommu_domain_free()`. */
  free(): void {
    if (this.devices.length > 0) {
      this.#state.warn("amd_iommu_domain_free", `domain ${this.id} still has devices`);
    }
    this.#table.free();
    this.#state.domainIds.free(this.domainId);
  }

  #trace(what: "map" | "unmap", page: number, count: number): void {
    const { trace } = this.#state.ports;
    if (trace.active) {
      trace.emit("map:change", { domain: `${this.type}#${this.id}`, page, count, what });
    }
  }
}

/** A process's page table, for PASIDs alone. Source: Linux 7.2 drivers/iommu/amd/pasid.c. */
export class SvaDomain extends ProtectionDomain implements Domain {
  readonly #state: DriverState;
  readonly #root: number;

  constructor(state: DriverState, driver: IommuDriver, process: ProcessMemory) {
    super(driver, state.core.newDomainId(), "SVA", state.domainIds.allocate(), "none", undefined);
    this.#state = state;
    this.#root = process.root;
  }

  /** Never a RID's domain. @throws KernelError EINVAL */
  // oxlint-disable-next-line require-yield
  *attach(device: Device): Op<void> {
    throw new KernelError("EINVAL", `an SVA domain cannot be attached to the RID of ${device.name}`);
  }

  /** Gives the PASID the process's page table. @throws KernelError EOPNOTSUPP, EINVAL, ENOMEM */
  setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    return setPasid(this.#state, this.#state.dataOf(device), this, pasid, this.#root, old);
  }

  /** The process unmapped pages. Source: Linux 7.2 `sva_arch_invalidate_secondary_tlbs()`. */
  unmapped(page: number, count: number): Op<void> {
    const { lock, pasids } = this;
    return withLock(lock, function* () {
      for (const { device, pasid } of pasids) {
        yield* flushPasidPages("mm-unmap", device, pasid, page, count);
      }
    });
  }

  /** The process ends: its PASIDs leave the GCR3 tables before the core takes them away. Source: Linux 7.2 `sva_mn_release()`. */
  processEnds(): Op<void> {
    const { lock, pasids } = this;
    const state = this.#state;
    return withLock(lock, function* () {
      for (const { device, pasid } of pasids.splice(0)) {
        yield* clearPasid(state, device, pasid);
      }
    });
  }

  /** Gives its domain ID back. */
  free(): void {
    this.#state.domainIds.free(this.domainId);
  }
}
