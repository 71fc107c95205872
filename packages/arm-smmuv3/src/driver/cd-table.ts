import { type Digest, type Op, type Words, KernelOops, getField } from "@iommu-lab/core";
import { cmdCfgiCd } from "../layout/command.ts";
import { CD, CD_BYTES, CD_WORDS, describeCd } from "../layout/context-descriptor.ts";
import { L1_DESCRIPTOR_BYTES, describeL1cd, encodeL1cd } from "../layout/level1-descriptors.ts";
import { S1_FMT } from "../layout/stream-table-entry.ts";
import { cdKind } from "./context-descriptor.ts";
import { OWNER } from "./ports.ts";
import type { SmmuDevice } from "./smmu-device.ts";
import type { CdTableLocation } from "./stream-entry.ts";
import type { EntryPlace } from "./table-memory.ts";

/** `CTXDESC_L2_ENTRIES`: context descriptors of a 64 KiB leaf. */
const LEAF_BITS = 10;
const LEAF_ENTRIES = 2 ** LEAF_BITS;
/** `dma_alloc_coherent()` hands out whole pages. */
const PAGE = 4096;

/** Whose table it is. */
export interface CdTableOwner {
  readonly name: string;
  readonly rid: number;
  readonly smmu: SmmuDevice;
  /** All StreamIDs of the function. */
  readonly streams: readonly number[];
}

/**
 * A function's table of context descriptors: linear up to 1024 of them, else two levels with 64 KiB leaves that come into
 * being when they are first needed.
 *
 * Source: Linux 7.2 `struct arm_smmu_ctx_desc_cfg`, `arm_smmu_alloc_cd_tables()`, `arm_smmu_alloc_cd_ptr()`.
 */
export class CdTable implements CdTableLocation {
  readonly #owner: CdTableOwner;
  #address = 0;
  #s1Fmt: number = S1_FMT.linear;
  #s1CdMax = 0;
  /** Descriptors that fit into what was allocated. */
  #capacity = 0;
  readonly #leaves = new Map<number, number>();
  /** PASIDs with a valid descriptor (`used_ssids`). */
  usedSsids = 0;
  /** The STE points to it (`in_ste`). */
  inSte = false;

  constructor(owner: CdTableOwner) {
    this.#owner = owner;
  }

  /** Whether there is a table yet. */
  get allocated(): boolean {
    return this.#address !== 0;
  }

  /** Physical address of the table, or of its first level. */
  get address(): number {
    return this.#address;
  }

  /** One of `S1_FMT`. */
  get s1Fmt(): number {
    return this.#s1Fmt;
  }

  /** log2 of the number of descriptors. */
  get s1CdMax(): number {
    return this.#s1CdMax;
  }

  /** Makes the table. @param bits log2 of the number of descriptors */
  allocate(bits: number): void {
    const { smmu, name } = this.#owner;
    this.#s1CdMax = bits;
    const twoLevels = smmu.features.twoLevelCdTable && 2 ** bits > LEAF_ENTRIES;
    this.#s1Fmt = twoLevels ? S1_FMT.leaves64K : S1_FMT.linear;
    const bytes = twoLevels ? L1_DESCRIPTOR_BYTES * 2 ** (bits - LEAF_BITS) : CD_BYTES * 2 ** bits;
    const pages = Math.max(PAGE, bytes);
    this.#capacity = twoLevels ? 2 ** bits : pages / CD_BYTES;
    this.#address = smmu.ports.memory.allocate(pages, pages, OWNER, `${name} context descriptor table`);
  }

  /** Gives everything back. Source: Linux 7.2 `arm_smmu_free_cd_tables()`. */
  free(): void {
    const { memory } = this.#owner.smmu.ports;
    for (const leaf of this.#leaves.values()) {
      memory.release(leaf);
    }
    this.#leaves.clear();
    if (this.#address !== 0) {
      memory.release(this.#address);
      this.#address = 0;
    }
  }

  /** Where a descriptor is; undefined while its leaf does not exist. Source: Linux 7.2 `arm_smmu_get_cd_ptr()`. */
  find(ssid: number): EntryPlace | undefined {
    if (!this.allocated) {
      return undefined;
    }
    if (this.#s1Fmt === S1_FMT.linear) {
      return this.#place(ssid, this.#address + ssid * CD_BYTES);
    }
    const leaf = this.#leaves.get(Math.floor(ssid / LEAF_ENTRIES));
    return leaf === undefined ? undefined : this.#place(ssid, leaf + (ssid % LEAF_ENTRIES) * CD_BYTES);
  }

  /**
   * Makes sure that a descriptor exists; a new leaf is announced to hardware, which may have cached its absence.
   *
   * @throws KernelOops for a PASID beyond the memory of a table: the kernel does not check, and writes past its end
   */
  *obtain(ssid: number): Op<EntryPlace> {
    if (ssid >= this.#capacity) {
      throw new KernelOops(`${this.#owner.name}: PASID ${ssid} is beyond the table of context descriptors`);
    }
    const index = Math.floor(ssid / LEAF_ENTRIES);
    if (this.#s1Fmt === S1_FMT.leaves64K && !this.#leaves.has(index)) {
      yield* this.#addLeaf(ssid, index);
    }
    const place = this.find(ssid);
    if (place === undefined) {
      throw new Error("a context descriptor has no place");
    }
    return place;
  }

  /** Writes a descriptor. Source: Linux 7.2 `arm_smmu_write_cd_entry()`. */
  *write(ssid: number, place: EntryPlace, target: Words): Op<void> {
    const { tables } = this.#owner.smmu;
    const wasValid = getField(tables.read(place), CD.v) === 1;
    const isValid = getField(target, CD.v) === 1;
    if (ssid !== 0 && wasValid !== isValid) {
      this.usedSsids += isValid ? 1 : -1;
    }
    yield* tables.update(place, cdKind, target, describeCd, () => this.#sync(ssid, true));
  }

  /** Writes where it is and what of it is used; the descriptors are memory. */
  digest(into: Digest): void {
    for (const value of [this.#address, this.#s1CdMax, this.usedSsids, this.inSte ? 1 : 0, this.#leaves.size]) {
      into.number(value);
    }
    for (const [index, leaf] of [...this.#leaves].toSorted(([a], [b]) => a - b)) {
      into.number(index);
      into.number(leaf);
    }
  }

  *#addLeaf(ssid: number, index: number): Op<void> {
    const { smmu, name, rid } = this.#owner;
    const bytes = LEAF_ENTRIES * CD_BYTES;
    const leaf = smmu.ports.memory.allocate(bytes, bytes, OWNER, `${name} context descriptors`);
    this.#leaves.set(index, leaf);
    const place = { kind: "l1cd", rid, address: this.#address + index * L1_DESCRIPTOR_BYTES, size: 1 };
    yield* smmu.tables.store(place, encodeL1cd(leaf), 0, 1, describeL1cd);
    yield* this.#sync(ssid, false);
  }

  /** Source: Linux 7.2 `arm_smmu_sync_cd()`. */
  *#sync(ssid: number, leaf: boolean): Op<void> {
    const { smmu, streams } = this.#owner;
    yield* smmu.commands.invalidate(
      leaf ? "write-cd" : "write-l1cd",
      streams.map((sid) => cmdCfgiCd(sid, ssid, leaf)),
    );
  }

  #place(ssid: number, address: number): EntryPlace {
    const { rid } = this.#owner;
    return { kind: "cd", rid, ...(ssid === 0 ? {} : { pasid: ssid }), address, size: CD_WORDS };
  }
}
