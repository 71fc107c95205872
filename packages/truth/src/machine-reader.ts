import type { Platform } from "@iommu-lab/core";
import type { TableWords } from "./state.ts";

/**
 * Reads a running machine from outside, as a debugger does: registers and physical memory, and no object of the model.
 * Layouts are read here a second time, from the specifications.
 */
export class MachineReader {
  readonly #platform: Platform;
  readonly #base: number;

  /** @param base address of the IOMMU's registers */
  constructor(platform: Platform, base: number) {
    this.#platform = platform;
    this.#base = base;
  }

  /** A 64-bit register of the IOMMU. */
  register(offset: number): bigint {
    const { mmio } = this.#platform;
    return (BigInt(mmio.read32(this.#base + offset + 4)) << 32n) | BigInt(mmio.read32(this.#base + offset));
  }

  /** A 32-bit register of the IOMMU. */
  register32(offset: number): number {
    return this.#platform.mmio.read32(this.#base + offset);
  }

  /** `count` words of memory, lowest first. */
  words(address: bigint, count: number): bigint[] {
    const { memory } = this.#platform;
    return Array.from({ length: count }, (_, index) => {
      memory.load64(Number(address) + index * 8);
      return (BigInt(memory.hi >>> 0) << 32n) | BigInt(memory.lo >>> 0);
    });
  }

  /** One word of memory. */
  word(address: bigint): bigint {
    return this.words(address, 1)[0] ?? 0n;
  }
}

/** How one IOMMU keeps what it knows of a requester ID. */
export type TableReader = (machine: MachineReader, rid: number) => TableWords;

const PAGE = 0x000f_ffff_ffff_f000n;

/** RTADDR (020h) → root entry → context entry → PASID directory → PASID entry 0. Source: VT-d 5.10 §3.4, §9.1-§9.6. */
export const readVtd: TableReader = (machine, rid) => {
  const words = new Map<string, readonly bigint[]>();
  const rtaddr = machine.register(0x20);
  const scalable = ((rtaddr >> 10n) & 3n) === 1n;
  const devfn = BigInt(rid & 0xff);
  const root = machine.words((rtaddr & PAGE) + BigInt(rid >>> 8) * 16n, 2);
  words.set("root", root);
  const half = (scalable && devfn >= 128n ? root[1] : root[0]) ?? 0n;
  if ((half & 1n) === 0n) {
    return words;
  }
  if (!scalable) {
    words.set("context", machine.words((half & PAGE) + devfn * 16n, 2));
    return words;
  }
  const context = machine.words((half & PAGE) + (devfn & 0x7fn) * 32n, 4);
  words.set("context", context);
  const directory = (context[0] ?? 0n) & PAGE;
  if (((context[0] ?? 0n) & 1n) === 0n || directory === 0n) {
    return words;
  }
  const entry = machine.word(directory);
  words.set("pasid_dir0", [entry]);
  if ((entry & 1n) === 1n) {
    words.set("pasid0", machine.words(entry & PAGE, 8));
  }
  return words;
};

/** Device Table Base (0000h) → DTE. Source: AMD IOMMU specification §2.2.2, §3.4.1. */
export const readAmdVi: TableReader = (machine, rid) =>
  new Map([["dte", machine.words((machine.register(0) & PAGE) + BigInt(rid) * 32n, 4)]]);

/** STRTAB_BASE (0080h) → level-1 descriptor → STE → CD 0. Source: SMMUv3 §3.3, §5.1-§5.4, §6.3.23, §6.3.24. */
export const readSmmuv3: TableReader = (machine, rid) => {
  const words = new Map<string, readonly bigint[]>();
  const pointer = 0x000f_ffff_ffff_ffc0n;
  const base = machine.register(0x80) & pointer;
  const config = machine.register32(0x88);
  let table = base;
  let index = BigInt(rid);
  if (((config >>> 16) & 3) === 1) {
    const split = BigInt((config >>> 6) & 0x1f);
    const descriptor = machine.word(base + (index >> split) * 8n);
    words.set("l1desc", [descriptor]);
    if ((descriptor & 0x1fn) === 0n) {
      return words;
    }
    table = descriptor & pointer;
    index &= (1n << split) - 1n;
  }
  const ste = machine.words(table + index * 64n, 8);
  words.set("ste", ste);
  const first = ste[0] ?? 0n;
  if ((first & 1n) === 0n || ((first >> 1n) & 5n) !== 5n) {
    return words;
  }
  const twoLevels = ((first >> 4n) & 3n) !== 0n && first >> 59n !== 0n;
  const top = first & 0x000f_ffff_ffff_ffc0n;
  const descriptors = twoLevels ? machine.word(top) & PAGE : top;
  words.set("cd0", machine.words(descriptors, 8));
  return words;
};

/** A register of the IOMMU that is compared after boot. */
export interface ComparedRegister {
  /** As recordings name it. */
  readonly name: string;
  readonly offset: number;
  /** Bits that concern DMA; the others are addresses, interrupts, or hints. */
  readonly mask: bigint;
}

/** GSTS beside GCMD: TES, RTPS, QIES; RTADDR: TTM. Source: VT-d 5.10 §11.4.4, §11.4.5. */
export const VTD_REGISTERS: readonly ComparedRegister[] = [
  { name: "gcmd_gsts", offset: 0x18, mask: 0xc400_0000_0000_0000n },
  { name: "rtaddr", offset: 0x20, mask: 0xc00n },
];

/** CR0 whole; ABORT of GBPA; STRTAB_BASE_CFG whole. Source: SMMUv3 §6.3.9, §6.3.15, §6.3.25. */
export const SMMUV3_REGISTERS: readonly ComparedRegister[] = [
  { name: "cr0", offset: 0x20, mask: 0xffff_ffffn },
  { name: "gbpa", offset: 0x44, mask: 0x10_0000n },
  { name: "strtab_base_cfg", offset: 0x88, mask: 0xffff_ffffn },
];

/**
 * Control: IommuEn, EventLogEn, InvTimeOut, Coherent, CmdBufEn, PPRLogEn, PPREn, GTEn, EPHEn. Source: AMD IOMMU
 * specification §3.4.4.
 */
export const AMD_VI_REGISTERS: readonly ComparedRegister[] = [
  { name: "control", offset: 0x18, mask: 0x0000_2000_0001_b4e5n },
];
