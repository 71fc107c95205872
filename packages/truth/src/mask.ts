import type { TableWords } from "./state.ts";

/** Which bits of one 64-bit word of an IOMMU structure mean the same on two machines. */
export interface WordMask {
  /** Bits that must be equal: flags, modes, sizes, permissions, and bits that must be zero. */
  readonly flags: bigint;
  /** Bits of a pointer: only whether it is zero is compared. Its value depends on the allocator. */
  readonly pointer: bigint;
}

const ALL = 0xffff_ffff_ffff_ffffn;
const NOTHING: WordMask = { flags: 0n, pointer: 0n };

/** Bits `high … low`. */
function bits(high: number, low: number): bigint {
  return ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);
}

/** All bits but a pointer and what numbers (ASID, VMID, DID, DomainID) the kernel handed out. */
function word(pointer: bigint = 0n, numbers: bigint = 0n): WordMask {
  return { flags: ALL & ~pointer & ~numbers, pointer };
}

const PAGE = bits(63, 12);

/**
 * SMMUv3 §5.2: S1ContextPtr [55:6] of word 0, S2VMID [15:0] of word 2, S2TTB [51:4] of word 3, VMSPtr [55:12] of word 5,
 * the Secure S2TTB of word 6.
 */
const STE: readonly WordMask[] = [
  word(bits(55, 6)),
  word(),
  word(0n, bits(15, 0)),
  word(bits(51, 4)),
  word(),
  word(bits(55, 12)),
  word(bits(51, 4)),
  word(),
];

/** SMMUv3 §5.4: ASID [63:48] of word 0, TTB0 and TTB1 [51:4]. */
const CD: readonly WordMask[] = [
  word(0n, bits(63, 48)),
  word(bits(51, 4)),
  word(bits(51, 4)),
  word(),
  word(),
  word(),
  word(),
  word(),
];

/** SMMUv3 §5.1: L2Ptr [55:6]; Span stays. */
const L1_STREAM_DESCRIPTOR: readonly WordMask[] = [word(bits(55, 6))];

/** VT-d §9.1 and §9.2: both halves hold a present bit and a context-table pointer. */
const ROOT: readonly WordMask[] = [word(PAGE), word(PAGE)];

/** VT-d §9.3: SSPTPTR [63:12]; DID [23:8] of the second word. */
const CONTEXT_LEGACY: readonly WordMask[] = [word(PAGE), word(0n, bits(23, 8))];

/** VT-d §9.4: PASIDDIRPTR [63:12]; the rest are flags. */
const CONTEXT_SCALABLE: readonly WordMask[] = [word(PAGE), word(), word(), word()];

/** VT-d §9.5. */
const PASID_DIRECTORY: readonly WordMask[] = [word(PAGE)];

/** VT-d §9.6: SSPTPTR, FSPTPTR and HPTPTR [63:12]; DID and HPTDID [15:0]. */
const PASID_ENTRY: readonly WordMask[] = [
  word(PAGE),
  word(0n, bits(15, 0)),
  word(PAGE),
  word(),
  word(PAGE),
  word(0n, bits(15, 0)),
  word(),
  word(),
];

/**
 * AMD IOMMU specification §2.2.2.1: host page-table root [51:12] and GCR3 root [60:58], [31:16], [63:43] are pointers,
 * DomainID [15:0] a number. Of the third quadword only GuestPagingMode [55:54] concerns DMA; the rest is interrupt
 * remapping.
 */
const DTE: readonly WordMask[] = [
  word(bits(51, 12) | bits(60, 58)),
  word(bits(31, 16) | bits(63, 43), bits(15, 0)),
  { flags: bits(55, 54), pointer: 0n },
  word(),
];

const MASKS: ReadonlyMap<string, readonly WordMask[]> = new Map([
  ["ste", STE],
  ["cd0", CD],
  ["l1desc", L1_STREAM_DESCRIPTOR],
  ["root", ROOT],
  ["pasid_dir0", PASID_DIRECTORY],
  ["pasid0", PASID_ENTRY],
  ["dte", DTE],
]);

/**
 * What is compared of a structure. The two forms of a VT-d context entry are told apart by their size.
 *
 * @param structure as recordings name it: `ste`, `cd0`, `l1desc`, `root`, `context`, `pasid_dir0`, `pasid0`, `dte`
 * @param count how many words it has
 * @returns one mask per word; an unknown structure gives masks that compare nothing
 */
export function masksOf(structure: string, count: number): readonly WordMask[] {
  const known = structure === "context" ? (count === 2 ? CONTEXT_LEGACY : CONTEXT_SCALABLE) : MASKS.get(structure);
  return Array.from({ length: count }, (_, index) => known?.[index] ?? NOTHING);
}

/** A word with its pointers reduced to all ones or all zeros and its numbers cleared. */
export function maskWord(value: bigint, mask: WordMask): bigint {
  return (value & mask.flags) | ((value & mask.pointer) === 0n ? 0n : mask.pointer);
}

/** All words of a structure, masked. */
export function maskWords(structure: string, values: readonly bigint[]): readonly bigint[] {
  const masks = masksOf(structure, values.length);
  return values.map((value, index) => maskWord(value, masks[index] ?? NOTHING));
}

/** The structures of one device, masked. */
export function maskTables(tables: TableWords): TableWords {
  return new Map([...tables].map(([structure, values]) => [structure, maskWords(structure, values)]));
}

/** `0x` and 16 digits. */
export function formatWord(value: bigint): string {
  return `0x${value.toString(16).padStart(16, "0")}`;
}
