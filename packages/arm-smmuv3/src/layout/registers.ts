/**
 * Offsets of the registers in bytes. Those of the event and page request queues' indices are in page 1, 64 KiB above.
 *
 * Source: SMMUv3 §6.2.
 */
export const REG = {
  idr0: 0x0,
  idr1: 0x4,
  idr2: 0x8,
  idr3: 0xc,
  idr4: 0x10,
  idr5: 0x14,
  iidr: 0x18,
  aidr: 0x1c,
  cr0: 0x20,
  cr0Ack: 0x24,
  cr1: 0x28,
  cr2: 0x2c,
  statusr: 0x40,
  gbpa: 0x44,
  irqCtrl: 0x50,
  irqCtrlAck: 0x54,
  gerror: 0x60,
  gerrorn: 0x64,
  gerrorIrqCfg0: 0x68,
  gerrorIrqCfg1: 0x70,
  gerrorIrqCfg2: 0x74,
  strtabBase: 0x80,
  strtabBaseCfg: 0x88,
  cmdqBase: 0x90,
  cmdqProd: 0x98,
  cmdqCons: 0x9c,
  eventqBase: 0xa0,
  eventqIrqCfg0: 0xb0,
  eventqIrqCfg1: 0xb8,
  eventqIrqCfg2: 0xbc,
  priqBase: 0xc0,
  priqIrqCfg0: 0xd0,
  priqIrqCfg1: 0xd8,
  priqIrqCfg2: 0xdc,
  eventqProd: 0x100a8,
  eventqCons: 0x100ac,
  priqProd: 0x100c8,
  priqCons: 0x100cc,
} as const;

/** Size of the register window in bytes: two pages of 64 KiB. */
export const REGISTER_WINDOW_BYTES = 0x20000;

/** SMMU_CR0. Source: SMMUv3 §6.3.9. */
export const CR0 = { smmuen: 1, priqen: 2, eventqen: 4, cmdqen: 8, atschk: 0x10 } as const;

/** SMMU_CR1 with write-back, inner-shareable tables and queues. Source: SMMUv3 §6.3.11. */
export const CR1_WRITE_BACK_INNER = 0xd75;

/** SMMU_CR2. Source: SMMUv3 §6.3.12. */
export const CR2 = { e2h: 1, recInvSid: 2, ptm: 4, recCfgAts: 8 } as const;

/** SMMU_GBPA: what happens while the SMMU is off. Source: SMMUv3 §6.3.14. */
export const GBPA = { abort: 0x100000, update: 0x80000000 } as const;

/** SMMU_IRQ_CTRL. Source: SMMUv3 §6.3.15. */
export const IRQ_CTRL = { gerror: 1, priq: 2, eventq: 4 } as const;

/** SMMU_GERROR. Source: SMMUv3 §6.3.17. */
export const GERROR = { cmdqErr: 1, eventqAbtErr: 4, priqAbtErr: 8 } as const;

/** Errors in SMMU_GERROR that Linux looks at (`GERROR_ERR_MASK`). */
export const GERROR_ERRORS = 0x1fd;

/** SMMU_CMDQ_CONS.ERR. Source: SMMUv3 §7.1. */
export const CERROR = { none: 0, ill: 1, abt: 2, atcInvSync: 3 } as const;

/** A u32 pair of a 64-bit register. */
export type Register64 = readonly [lo: number, hi: number];

const TWO_LEVELS = 1;

/** SMMU_STRTAB_BASE_CFG, taken apart. */
export interface StreamTableConfig {
  /** log2 of the number of StreamIDs that the table covers. */
  readonly log2Size: number;
  /** StreamID bits below the level-1 index; only with two levels. */
  readonly split: number;
  readonly twoLevels: boolean;
}

/** Source: SMMUv3 §6.3.25. */
export function encodeStrtabBaseCfg(config: StreamTableConfig): number {
  return config.twoLevels ? (TWO_LEVELS << 16) | (config.split << 6) | config.log2Size : config.log2Size;
}

/** SPLIT values other than 6, 8 and 10 behave as 6. */
export function decodeStrtabBaseCfg(value: number): StreamTableConfig {
  const split = (value >>> 6) & 0x1f;
  return {
    log2Size: value & 0x3f,
    split: split === 8 || split === 10 ? split : 6,
    twoLevels: ((value >>> 16) & 3) === TWO_LEVELS,
  };
}

const ALLOCATE_HINT = 0x40000000;

/** SMMU_STRTAB_BASE with the read-allocate hint. Source: SMMUv3 §6.3.24. */
export function encodeStrtabBase(address: number): Register64 {
  return [address >>> 0, ((address / 2 ** 32) | ALLOCATE_HINT) >>> 0];
}

/** The address in SMMU_STRTAB_BASE, bits 51:6. */
export function decodeStrtabBase([lo, hi]: Register64): number {
  return (hi & 0xfffff) * 2 ** 32 + ((lo & 0xffffffc0) >>> 0);
}

/** A queue base register with the allocate hint. @param log2Size log2 of the number of entries */
export function encodeQueueBase(address: number, log2Size: number): Register64 {
  return [(address | log2Size) >>> 0, ((address / 2 ** 32) | ALLOCATE_HINT) >>> 0];
}

/** Address (bits 51:5) and size of a queue. */
export function decodeQueueBase([lo, hi]: Register64): { readonly address: number; readonly log2Size: number } {
  return { address: (hi & 0xfffff) * 2 ** 32 + ((lo & 0xffffffe0) >>> 0), log2Size: lo & 0x1f };
}
