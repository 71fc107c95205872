import type { Words } from "@iommu-lab/core";
import { STE_CONFIG, type SteField, encodeSte } from "../../src/layout/stream-table-entry.ts";
import { CONTEXTS, type Machine, TABLES } from "../support/machine.ts";

/** Tables of stage 2: one 4 KiB page for each level, first two levels shared by what tests map. */
export const S2_TABLES = 0x40b00000;

/** A 48-bit stage 2 with 4 KiB pages, as Linux writes it. */
const STAGE2: Readonly<Partial<Record<SteField, number>>> = {
  v: 1,
  s2Vmid: 1,
  s2T0Sz: 16,
  s2Sl0: 2,
  s2Ps: 5,
  s2Aa64: 1,
  s2R: 1,
  s2Ptw: 1,
  s2Ttb: S2_TABLES,
};

/** An STE with stage 2 on, alone or below stage 1. */
export function stage2Ste(config: number, fields: Readonly<Partial<Record<SteField, number>>> = {}): Words {
  const stage1 = config === STE_CONFIG.nested ? { s1ContextPtr: CONTEXTS, s1Dss: 2 } : {};
  return encodeSte({ ...STAGE2, config, ...stage1, ...fields });
}

/** A leaf of stage 2: RW, write-back, inner shareable. */
export const S2_RW = 0x7ffn;

/** Maps one intermediate page. @param leaf bits of the descriptor besides the address */
export function mapStage2(machine: Machine, page: number, host: number, leaf: bigint = S2_RW): void {
  const indices = [27, 18, 9, 0].map((shift) => Math.floor(page / 2 ** shift) % 512);
  let table = S2_TABLES;
  for (const [level, index] of indices.entries()) {
    const at = table + index * 8;
    if (level === 3) {
      machine.qword(at, (BigInt(host) * 4096n) | leaf);
      return;
    }
    let value = machine.readQword(at);
    if (value === 0n) {
      value = BigInt(machine.memory.allocate(4096, 4096, "test", "stage-2 table")) | 3n;
      machine.qword(at, value);
    }
    table = Number(value & 0xfffffffff000n);
  }
}

/** Gives stage 1's structures, at their own addresses, to stage 2. */
export function mapStage1Structures(machine: Machine, leaf: bigint = S2_RW): void {
  for (const address of [CONTEXTS, TABLES, TABLES + 4096, TABLES + 8192, TABLES + 12288]) {
    mapStage2(machine, address / 4096, address / 4096, leaf);
  }
}
