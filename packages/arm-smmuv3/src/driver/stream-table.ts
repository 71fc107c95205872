import type { Digest, Op, PhysicalMemory, Words } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { L1_DESCRIPTOR_BYTES, describeL1std, encodeL1std } from "../layout/level1-descriptors.ts";
import { type Register64, encodeStrtabBase, encodeStrtabBaseCfg } from "../layout/registers.ts";
import { STE_BYTES, STE_WORDS } from "../layout/stream-table-entry.ts";
import { STRTAB_SPLIT } from "./features.ts";
import { OWNER } from "./ports.ts";
import { type SteFeatures, makeAbortSte, makeBypassSte } from "./stream-entry.ts";
import type { EntryPlace, TableMemory } from "./table-memory.ts";

/** What of an SMMU decides about its stream table. */
export interface StreamTableFeatures {
  readonly twoLevelStreamTable: boolean;
  readonly streamIdBits: number;
}

/** `STRTAB_MAX_L1_ENTRIES`. */
const MAX_L1_ENTRIES = 2 ** 17;
const LEVEL2_ENTRIES = 2 ** STRTAB_SPLIT;

/**
 * The stream table: linear, or two levels with a second-level table for each PCI bus that has a device. Every entry
 * starts by aborting.
 *
 * Source: Linux 7.2 `arm_smmu_init_strtab()`, `arm_smmu_init_l2_strtab()`.
 */
export class StreamTable {
  readonly #name: string;
  readonly #memory: PhysicalMemory;
  readonly #tables: TableMemory;
  readonly #twoLevels: boolean;
  /** log2 of the StreamIDs it covers. */
  readonly #bits: number;
  readonly #address: number;
  /** Second-level tables by level-1 index. */
  readonly #level2 = new Map<number, number>();

  constructor(name: string, features: StreamTableFeatures, memory: PhysicalMemory, tables: TableMemory) {
    this.#name = name;
    this.#memory = memory;
    this.#tables = tables;
    this.#twoLevels = features.twoLevelStreamTable;
    if (this.#twoLevels) {
      const entries = Math.min(2 ** (features.streamIdBits - STRTAB_SPLIT), MAX_L1_ENTRIES);
      this.#bits = Math.log2(entries) + STRTAB_SPLIT;
      this.#address = this.#allocate(entries * L1_DESCRIPTOR_BYTES, "level-1 stream table");
    } else {
      this.#bits = features.streamIdBits;
      this.#address = this.#allocate(STE_BYTES * 2 ** this.#bits, "stream table");
      this.#abortAll(this.#address, 2 ** this.#bits);
    }
  }

  /** What goes into STRTAB_BASE. */
  get baseRegister(): Register64 {
    return encodeStrtabBase(this.#address);
  }

  /** What goes into STRTAB_BASE_CFG. */
  get configRegister(): number {
    const split = this.#twoLevels ? STRTAB_SPLIT : 0;
    return encodeStrtabBaseCfg({ log2Size: this.#bits, split, twoLevels: this.#twoLevels });
  }

  /**
   * Makes sure that a stream has an entry.
   *
   * Source: Linux 7.2 `arm_smmu_init_sid_strtab()`.
   *
   * @throws KernelError ERANGE for a StreamID that the table does not cover
   */
  *prepare(sid: number): Op<void> {
    const table = this.#addLevel2(sid);
    if (table !== undefined) {
      yield* this.#tables.store(this.#level1(sid), encodeL1std(STRTAB_SPLIT + 1, table), 0, 1, describeL1std);
    }
  }

  /**
   * Lets a stream bypass. For a table that hardware does not know yet.
   *
   * @throws KernelError ERANGE for a StreamID that the table does not cover
   */
  startBypassing(sid: number, features: SteFeatures): void {
    const table = this.#addLevel2(sid);
    if (table !== undefined) {
      this.#storeNow(this.#level1(sid).address, encodeL1std(STRTAB_SPLIT + 1, table));
    }
    this.#storeNow(this.entry(sid).address, makeBypassSte(features));
  }

  /** Where a stream's entry is; {@link StreamTable.prepare} comes first. */
  entry(sid: number): EntryPlace {
    const table = this.#twoLevels ? (this.#level2.get(Math.floor(sid / LEVEL2_ENTRIES)) ?? 0) : this.#address;
    const index = this.#twoLevels ? sid % LEVEL2_ENTRIES : sid;
    return { kind: "ste", rid: sid, address: table + index * STE_BYTES, size: STE_WORDS };
  }

  /** Writes which second-level tables there are; their contents are memory. */
  digest(into: Digest): void {
    into.number(this.#address);
    into.number(this.#level2.size);
    for (const [index, table] of [...this.#level2].toSorted(([a], [b]) => a - b)) {
      into.number(index);
      into.number(table);
    }
  }

  /** The second-level table that a StreamID needs and that does not exist yet. @throws KernelError ERANGE */
  #addLevel2(sid: number): number | undefined {
    if (sid >= 2 ** this.#bits) {
      throw new KernelError("ERANGE", `StreamID 0x${sid.toString(16)} is beyond the stream table of ${this.#name}`);
    }
    const index = Math.floor(sid / LEVEL2_ENTRIES);
    if (!this.#twoLevels || this.#level2.has(index)) {
      return undefined;
    }
    const table = this.#allocate(STE_BYTES * LEVEL2_ENTRIES, "level-2 stream table");
    this.#level2.set(index, table);
    this.#abortAll(table, LEVEL2_ENTRIES);
    return table;
  }

  #level1(sid: number): EntryPlace {
    const index = Math.floor(sid / LEVEL2_ENTRIES);
    return { kind: "l1std", rid: sid, address: this.#address + index * L1_DESCRIPTOR_BYTES, size: 1 };
  }

  #storeNow(address: number, words: Words): void {
    for (let index = 0; index < words.length; index += 2) {
      this.#memory.store64(address + index * 4, words[index] ?? 0, words[index + 1] ?? 0);
    }
  }

  #allocate(bytes: number, what: string): number {
    return this.#memory.allocate(bytes, Math.max(64, bytes), OWNER, `${this.#name} ${what}`);
  }

  /** Hardware does not know the table yet, so no order has to be kept. Only the first word of the entry is not zero. */
  #abortAll(table: number, count: number): void {
    const [lo = 0, hi = 0] = makeAbortSte();
    for (let index = 0; index < count; index += 1) {
      this.#memory.store64(table + index * STE_BYTES, lo, hi);
    }
  }
}
