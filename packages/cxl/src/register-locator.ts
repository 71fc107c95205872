import { CXL_DVSEC_REGISTER_LOCATOR, type ConfigSpace, DVSEC_VENDOR_CXL } from "@iommu-lab/pci";

/** What a register block of a CXL function is for. */
export type CxlBlockKind = "component" | "bar-acl" | "device" | "pmu" | "unknown";

/** One block that the Register Locator DVSEC names. */
export interface CxlRegisterBlock {
  /** What it is for. */
  readonly kind: CxlBlockKind;
  /** The base address register, 0 to 5. */
  readonly bar: number;
  /** Byte offset in that BAR, a multiple of 64 KB. */
  readonly offset: bigint;
}

const FIRST_ENTRY = 0xc;
const ENTRY_BYTES = 8;
const KINDS: Readonly<Record<number, CxlBlockKind>> = { 1: "component", 2: "bar-acl", 3: "device", 4: "pmu" };

/** The register blocks of a function, as its Register Locator DVSEC names them; empty entries are left out. Source: CXL 3.1 §8.1.9. */
export function cxlRegisterBlocks(config: ConfigSpace): readonly CxlRegisterBlock[] {
  const at = config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_REGISTER_LOCATOR);
  const blocks: CxlRegisterBlock[] = [];
  const length = at === 0 ? 0 : config.read16(at + 6) >>> 4;
  for (let entry = FIRST_ENTRY; entry + ENTRY_BYTES <= length; entry += ENTRY_BYTES) {
    const low = config.read32(at + entry);
    const id = (low >>> 8) & 0xff;
    if (id !== 0) {
      const offset = (BigInt(config.read32(at + entry + 4)) << 32n) | BigInt((low & 0xffff0000) >>> 0);
      blocks.push({ kind: KINDS[id] ?? "unknown", bar: low & 7, offset });
    }
  }
  return blocks;
}
