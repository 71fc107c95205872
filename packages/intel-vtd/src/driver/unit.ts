import type { Condition, Mmio, Op, PhysicalMemory, Trace } from "@iommu-lab/core";
import { KernelOops, Lock, preempt, waitUntil } from "@iommu-lab/core";
import type { Capabilities } from "../layout/capabilities.ts";
import { decodeCapabilities } from "../layout/capabilities.ts";
import {
  CAP,
  ECAP,
  GCMD,
  GLOBAL_IRE,
  GLOBAL_QIE,
  GLOBAL_SRTP,
  GLOBAL_TE,
  GLOBAL_WBF,
  GSTS,
  PMEN,
  PMEN_EPM,
  PMEN_PRS,
  RTADDR,
  TTM_LEGACY,
  TTM_SCALABLE,
  encodeRootTableAddress,
} from "../layout/registers.ts";
import { DomainIds } from "./domain-ids.ts";

/** `DMAR_OPERATION_TIMEOUT`: 10 s. */
const OPERATION_TIMEOUT = 10_000_000_000;
/** The width Linux wishes for its own tables. */
const DEFAULT_DOMAIN_ADDRESS_WIDTH = 57;
const MAX_AGAW_WIDTH = 64;

/** What the driver reaches hardware through. */
export interface UnitPorts {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly trace: Trace;
}

class RegisterBit implements Condition {
  readonly name: string;
  readonly #unit: IntelIommu;
  readonly #offset: number;
  readonly #mask: number;
  readonly #set: boolean;

  constructor(unit: IntelIommu, offset: number, mask: number, set: boolean) {
    this.name = `${unit.name} register 0x${offset.toString(16)} bit 0x${mask.toString(16)}`;
    this.#unit = unit;
    this.#offset = offset;
    this.#mask = mask;
    this.#set = set;
  }

  holds(): boolean {
    return ((this.#unit.read32(this.#offset) & this.#mask) !== 0) === this.#set;
  }
}

/** One remapping unit as the driver keeps it (`struct intel_iommu`). */
export class IntelIommu {
  /** Such as `dmar0`. */
  readonly name: string;
  /** Physical address of its registers. */
  readonly base: number;
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly trace: Trace;
  /** CAP and ECAP as read. */
  readonly caps: Capabilities;
  /** `sm_supported()`: the kernel wants scalable mode and the unit has it. */
  readonly scalable: boolean;
  /** Width code of tables for a device (`agaw`). */
  readonly agaw: number;
  /** Largest width code the unit has (`msagaw`). */
  readonly msagaw: number;
  /** Domain IDs in use. */
  readonly domainIds: DomainIds;
  /** `iommu->lock`. */
  readonly lock: Lock;
  /** `VTD_FLAG_SVM_CAPABLE`. */
  svmCapable = false;
  /** Physical address of the root table; 0 before it exists. */
  rootTable = 0;
  /** What GCMD was last told to keep on. */
  #gcmd: number;

  /**
   * Reads what the unit is (`map_iommu()`, `alloc_iommu()`).
   *
   * @param wantScalable the kernel's `intel_iommu_sm`
   */
  constructor(name: string, base: number, ports: UnitPorts, wantScalable: boolean) {
    this.name = name;
    this.base = base;
    this.memory = ports.memory;
    this.mmio = ports.mmio;
    this.trace = ports.trace;
    this.lock = new Lock(`${name} lock`);
    this.caps = decodeCapabilities(this.read32(CAP), this.read32(CAP + 4), this.read32(ECAP), this.read32(ECAP + 4));
    this.scalable = wantScalable && this.caps.smts;
    this.agaw = this.#width(DEFAULT_DOMAIN_ADDRESS_WIDTH);
    this.msagaw = this.#width(MAX_AGAW_WIDTH);
    this.domainIds = new DomainIds(name, 2 ** this.caps.domainIdBits);
    this.#gcmd = this.read32(GSTS) & (GLOBAL_TE | GLOBAL_QIE | GLOBAL_IRE);
  }

  /** `pasid_supported()`. */
  get pasidSupported(): boolean {
    return this.scalable && this.caps.pasid;
  }

  /** Whether the driver has switched translation on. */
  get translating(): boolean {
    return (this.#gcmd & GLOBAL_TE) !== 0;
  }

  /** Whether page tables need no cache flushing (`iommu_paging_structure_coherency()`). */
  get coherentTables(): boolean {
    return this.scalable ? this.caps.smpwcs : this.caps.coherent;
  }

  /** Reads a 32-bit register. */
  read32(offset: number): number {
    return this.mmio.read32(this.base + offset);
  }

  /** Writes a 32-bit register. */
  *write32(offset: number, value: number): Op<void> {
    yield preempt;
    this.mmio.write32(this.base + offset, value >>> 0);
  }

  /** Writes a 64-bit register. */
  *write64(offset: number, lo: number, hi: number): Op<void> {
    yield preempt;
    this.mmio.write64(this.base + offset, lo, hi);
  }

  /** Switches TE or QIE and waits for the status. @throws KernelOops when the hardware does not react in 10 s */
  *switch(bit: number, on: boolean): Op<void> {
    this.#gcmd = (on ? this.#gcmd | bit : this.#gcmd & ~bit) >>> 0;
    yield* this.write32(GCMD, this.#gcmd);
    yield* this.waitFor(GSTS, bit, on);
  }

  /** Gives the root table to the hardware. Source: Linux 7.2 `iommu_set_root_entry()`, without the flushes. */
  *setRootEntry(): Op<void> {
    const mode = this.scalable ? TTM_SCALABLE : TTM_LEGACY;
    const [lo, hi] = encodeRootTableAddress({ table: this.rootTable, mode });
    yield* this.write64(RTADDR, lo, hi);
    yield* this.write32(GCMD, this.#gcmd | GLOBAL_SRTP);
    yield* this.waitFor(GSTS, GLOBAL_SRTP, true);
  }

  /** Source: Linux 7.2 `iommu_flush_write_buffer()`. */
  *flushWriteBuffer(): Op<void> {
    if (!this.caps.rwbf) {
      return;
    }
    yield* this.write32(GCMD, this.#gcmd | GLOBAL_WBF);
    yield* this.waitFor(GSTS, GLOBAL_WBF, false);
  }

  /** Source: Linux 7.2 `iommu_disable_protect_mem_regions()`. */
  *disableProtectedMemory(): Op<void> {
    if (!this.caps.lowProtectedMemory && !this.caps.highProtectedMemory) {
      return;
    }
    yield* this.write32(PMEN, this.read32(PMEN) & ~PMEN_EPM);
    yield* this.waitFor(PMEN, PMEN_PRS, false);
  }

  /** Waits for a bit of a register (`IOMMU_WAIT_OP`). @throws KernelOops after 10 s: the kernel panics */
  *waitFor(offset: number, mask: number, set: boolean): Op<void> {
    const arrived = yield* waitUntil(new RegisterBit(this, offset, mask, set), OPERATION_TIMEOUT);
    if (!arrived) {
      throw new KernelOops(`${this.name}: DMAR hardware is malfunctioning`);
    }
  }

  /** Source: Linux 7.2 `__iommu_calculate_agaw()`, `__iommu_calculate_sagaw()`. */
  #width(wanted: number): number {
    const first = (1 << 2) | (this.caps.fs5lp ? 1 << 3 : 0);
    let supported = this.caps.sagaw;
    if (this.scalable && this.caps.fsts) {
      supported = this.caps.ssts ? supported & first : first;
    }
    for (let agaw = Math.ceil((wanted - 30) / 9); agaw >= 0; agaw -= 1) {
      if ((supported & (1 << agaw)) !== 0) {
        return agaw;
      }
    }
    return -1;
  }
}
