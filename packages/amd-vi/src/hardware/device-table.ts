import type { Digest, Digestible, PhysicalMemory } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import { DTE_BYTES, decodeDte } from "../layout/device-table-entry.ts";
import type { Features } from "../layout/features.ts";
import { decodeDeviceTableBase } from "../layout/registers.ts";
import type { CachePolicy } from "./cache-policy.ts";
import { isIllegalDte } from "./dte-check.ts";

/** A DTE as the unit read it. */
export interface FetchedDte {
  readonly entry: DeviceTableEntry;
  /** Where it stands in memory. */
  readonly address: number;
  /** A reserved bit or value: ILLEGAL_DEV_TABLE_ENTRY. */
  readonly illegal: boolean;
  /** An IO_PAGE_FAULT was reported since it was fetched (see SE). */
  reported: boolean;
}

/**
 * The device table and what the unit remembers of it. An entry is read as 256 bits at once and kept until
 * INVALIDATE_DEVTAB_ENTRY.
 *
 * Source: AMD IOMMU specification §2.2.2.
 */
export class DeviceTable implements Digestible {
  /** Why the last {@link DeviceTable.fetch} gave nothing: beyond the table, or memory that does not answer. */
  failure: "" | "beyond" | "hardware" = "";
  /** Where the entry would stand. */
  failureAddress = 0;
  readonly #memory: PhysicalMemory;
  readonly #features: Features;
  readonly #keep: boolean;
  readonly #guestEnabled: () => boolean;
  readonly #cache = new Map<Rid, FetchedDte>();
  readonly #words = new Uint32Array(DTE_BYTES / 4);
  #baseLo = 0;
  #baseHi = 0;
  #base = 0;
  #bytes = 4096;

  constructor(memory: PhysicalMemory, features: Features, policy: CachePolicy, guestEnabled: () => boolean) {
    this.#memory = memory;
    this.#features = features;
    this.#keep = policy === "keep-all";
    this.#guestEnabled = guestEnabled;
  }

  /** Device Table Base as halves. */
  get base(): readonly [lo: number, hi: number] {
    return [this.#baseLo, this.#baseHi];
  }

  /** Writes Device Table Base. Remembered entries stay. */
  writeBase(lo: number, hi: number): void {
    this.#baseLo = lo;
    this.#baseHi = hi;
    const { address, bytes } = decodeDeviceTableBase(lo, hi);
    this.#base = address;
    this.#bytes = bytes;
  }

  /** The entry of a device; undefined = {@link DeviceTable.failure} says why not. */
  fetch(rid: Rid): FetchedDte | undefined {
    const known = this.#cache.get(rid);
    if (known !== undefined) {
      return known;
    }
    const address = this.#base + rid * DTE_BYTES;
    this.failureAddress = address;
    if ((rid + 1) * DTE_BYTES > this.#bytes) {
      this.failure = "beyond";
      return undefined;
    }
    if (!this.#memory.exists(address)) {
      this.failure = "hardware";
      return undefined;
    }
    for (let index = 0; index < this.#words.length; index += 1) {
      this.#words[index] = this.#memory.load32(address + index * 4);
    }
    const entry = decodeDte(this.#words);
    const illegal = isIllegalDte(this.#words, entry, this.#features, this.#guestEnabled());
    const fetched = { entry, address, illegal, reported: false };
    if (this.#keep && !illegal) {
      this.#cache.set(rid, fetched);
    }
    return fetched;
  }

  /** INVALIDATE_DEVTAB_ENTRY. */
  invalidate(rid: Rid): void {
    this.#cache.delete(rid);
  }

  /** INVALIDATE_IOMMU_ALL. */
  clear(): void {
    this.#cache.clear();
  }

  digest(into: Digest): void {
    into.number(this.#baseLo);
    into.number(this.#baseHi);
    for (const [rid, { entry, reported }] of [...this.#cache].toSorted((a, b) => a[0] - b[0])) {
      into.number(rid);
      into.text(JSON.stringify(entry));
      into.number(reported ? 1 : 0);
    }
  }
}
