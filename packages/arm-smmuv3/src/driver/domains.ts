import type { Device, Digest, Domain, IommuDriver, Op, Pasid, ProcessMemory } from "@iommu-lab/core";
import { KernelError, PageTable, preempt } from "@iommu-lab/core";
import { S1_DSS } from "../layout/stream-table-entry.ts";
import { vmsav8_64 } from "../layout/vmsav8-64.ts";
import { atsStateOf, decideAts } from "./ats-decision.ts";
import { attachCommit, attachPrepare, installSte } from "./attach.ts";
import { makeS1Cd, makeSvaCd } from "./context-descriptor.ts";
import type { DriverContext } from "./driver-context.ts";
import { tracked } from "./driver-context.ts";
import { removePasid, setPasid } from "./pasid-attach.ts";
import { OWNER } from "./ports.ts";
import { attachUntranslated } from "./rid-attach.ts";
import type { SmmuDevice } from "./smmu-device.ts";
import { makeAbortSte, makeBypassSte, makeCdTableSte } from "./stream-entry.ts";
import { TrackedDomain } from "./tracked-domain.ts";

/** The static IDENTITY domain. Source: Linux 7.2 `arm_smmu_identity_domain`. */
export class IdentityDomain implements Domain {
  readonly id: number;
  readonly type = "IDENTITY";
  readonly driver: IommuDriver;
  readonly #context: DriverContext;

  constructor(context: DriverContext) {
    this.id = context.newDomainId();
    this.driver = context.driver;
    this.#context = context;
  }

  *attach(device: Device, old: Domain | undefined): Op<void> {
    const { features } = this.#context.masterOf(device).smmu;
    yield* attachUntranslated(this.#context, this, device, old, makeBypassSte(features), S1_DSS.bypass);
  }
}

/** The static BLOCKED domain. Source: Linux 7.2 `arm_smmu_blocked_domain`. */
export class BlockedDomain implements Domain {
  readonly id: number;
  readonly type = "BLOCKED";
  readonly driver: IommuDriver;
  readonly #context: DriverContext;

  constructor(context: DriverContext) {
    this.id = context.newDomainId();
    this.driver = context.driver;
    this.#context = context;
  }

  *attach(device: Device, old: Domain | undefined): Op<void> {
    yield* attachUntranslated(this.#context, this, device, old, makeAbortSte(), S1_DSS.terminate);
  }

  *setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    yield* removePasid(this.#context, device, pasid, old);
  }
}

/** A stage-1 paging domain. Source: Linux 7.2 `arm_smmu_domain_finalise_s1()`. */
export class PagingDomain extends TrackedDomain {
  readonly endPage: number = vmsav8_64.endPage;
  readonly #context: DriverContext;
  readonly #table: PageTable;

  constructor(context: DriverContext, smmu: SmmuDevice, type: "DMA" | "DMA-FQ" | "UNMANAGED") {
    const id = context.newDomainId();
    super(id, type, context.driver, smmu, context.asids.allocate(smmu.features.asidBits), context.version.newBook);
    this.#context = context;
    this.#table = new PageTable(smmu.ports.memory, vmsav8_64, OWNER, `domain ${id} page table`);
    context.domains.set(id, this);
  }

  /**
   * Source: Linux 7.2 `arm_smmu_attach_dev()`.
   *
   * @throws KernelError EINVAL for a domain of another SMMU
   */
  *attach(device: Device, old: Domain | undefined): Op<void> {
    const { asidLock, policy } = this.#context;
    const master = this.#context.masterOf(device);
    const { cdTable, smmu } = master;
    if (this.smmu !== smmu) {
      throw new KernelError("EINVAL", `the domain belongs to another SMMU than ${device.name}`);
    }
    if (!cdTable.allocated) {
      master.allocateCdTable();
    }
    const place = yield* cdTable.obtain(0);
    yield asidLock.exclusive;
    try {
      const ats = decideAts(master, policy, "rid-attach", atsStateOf(master, this.type, cdTable.usedSsids));
      const attach = yield* attachPrepare(master, 0, this, tracked(old), ats);
      yield* cdTable.write(0, place, this.descriptor(master.stalls));
      yield* installSte(master, makeCdTableSte(smmu.features, cdTable, master.stalls, ats, S1_DSS.ssid0));
      yield* attachCommit(attach);
    } finally {
      asidLock.release();
    }
  }

  /** Source: Linux 7.2 `arm_smmu_s1_set_dev_pasid()`. */
  *setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    const { stalls } = this.#context.masterOf(device);
    yield* setPasid(this.#context, this, device, pasid, this.descriptor(stalls), old);
  }

  *map(page: number, target: number, count: number, prot: number): Op<void> {
    yield preempt;
    this.#table.map(page, target, count, prot);
    this.#tell(page, count, "map");
  }

  /** TLB and ATCs are invalidated at once. Source: Linux 7.2 `arm_smmu_unmap_pages()`, `arm_smmu_iotlb_sync()`. */
  *unmap(page: number, count: number): Op<number> {
    yield preempt;
    const removed = this.#table.unmap(page, count);
    this.#tell(page, count, "unmap");
    if (removed > 0) {
      yield* this.invalidate({ page, count, leaf: true }, "unmap");
    }
    return removed;
  }

  /** Source: Linux 7.2 `arm_smmu_flush_iotlb_all()`. */
  *flushAll(): Op<void> {
    yield* this.invalidate(undefined, "flush-all");
  }

  lookup(page: number): number | undefined {
    return this.#table.lookup(page)?.target;
  }

  free(): void {
    this.#table.free();
    this.forget();
    this.#context.domains.delete(this.id);
    this.#context.asids.free(this.asid);
  }

  /** Its context descriptor. @param stalls the function's faults may stall */
  protected descriptor(stalls: boolean): Uint32Array {
    return makeS1Cd(this.smmu.features, this.asid, this.#table.root, stalls);
  }

  #tell(page: number, count: number, what: "map" | "unmap"): void {
    const { trace } = this.smmu.ports;
    if (trace.active) {
      trace.emit("map:change", { domain: `${this.type}#${this.id}`, page, count, what });
    }
  }
}

/** The address space of a process, for PASIDs. Source: Linux 7.2 `arm_smmu_sva_domain_alloc()`. */
export class SvaDomain extends TrackedDomain {
  readonly #context: DriverContext;
  #process: ProcessMemory | undefined;

  constructor(context: DriverContext, smmu: SmmuDevice, process: ProcessMemory) {
    const asid = context.asids.allocate(smmu.features.asidBits);
    super(context.newDomainId(), "SVA", context.driver, smmu, asid, context.version.newBook);
    this.#context = context;
    this.#process = process;
    context.domains.set(this.id, this);
  }

  /** @throws KernelError EOPNOTSUPP: a RID cannot be on a process's address space */
  *attach(device: Device): Op<void> {
    yield preempt;
    throw new KernelError("EOPNOTSUPP", `an SVA domain cannot be attached to the RID of ${device.name}`);
  }

  /**
   * Source: Linux 7.2 `arm_smmu_sva_set_dev_pasid()`.
   *
   * @throws KernelError EINVAL when the process is gone
   */
  *setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    if (this.#process === undefined) {
      throw new KernelError("EINVAL", "the process is gone");
    }
    const { stalls } = this.#context.masterOf(device);
    const cd = makeSvaCd(this.smmu.features, this.asid, this.#process.root, stalls);
    yield* setPasid(this.#context, this, device, pasid, cd, old);
  }

  override digest(into: Digest): void {
    super.digest(into);
    into.number(this.#process?.root ?? 0);
  }

  /** The process unmapped pages. Source: Linux 7.2 `arm_smmu_mm_arch_invalidate_secondary_tlbs()`. */
  *unmapped(page: number, count: number): Op<void> {
    yield* this.invalidate({ page, count, leaf: false }, "mm-unmap");
  }

  /**
   * The process ends: its context descriptors stay valid and translate nothing; ATS stays as it is.
   *
   * Source: Linux 7.2 `arm_smmu_mm_release()`.
   */
  *processEnds(): Op<void> {
    this.#process = undefined;
    for (const { master, ssid } of this.users) {
      const place = master.cdTable.find(ssid);
      if (place !== undefined) {
        yield* master.cdTable.write(ssid, place, makeSvaCd(this.smmu.features, this.asid, undefined, master.stalls));
      }
    }
    yield* this.invalidate(undefined, "mm-release");
  }

  free(): void {
    this.forget();
    this.#context.domains.delete(this.id);
    this.#context.asids.free(this.asid);
  }
}
