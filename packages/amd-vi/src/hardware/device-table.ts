import type { Digest, Digestible, PhysicalMemory } from "@iommu-lab/core";
import type { CachePolicy, Rid } from "@iommu-lab/pci";
import { DTE_BYTES } from "../layout/device-table-entry.ts";
import { decodeDeviceTableBase } from "../layout/registers.ts";
import type { DteContext } from "./dte-check.ts";
import { dteProblem, interruptProblem } from "./dte-check.ts";
import { FetchedDte } from "./fetched-dte.ts";
import { RecentMap } from "./recent-map.ts";

/** Segments that DevTblSegEn 3 makes. */
const SEGMENTS = 8;
const DEVICE_ID_BITS = 16;

/** Where a device table stands. */
interface Segment {
  lo: number;
  hi: number;
  address: number;
  bytes: number;
}

/**
 * The device table, whole or in segments, and what the unit remembers of it. An entry is read as 256 bits at once and kept
 * until INVALIDATE_DEVTAB_ENTRY; one that is illegal is not kept.
 *
 * Source: AMD IOMMU specification §2.2.2, §3.4.1 (segments: §2.2.2.3).
 */
export class DeviceTable implements Digestible {
  /** Why the last {@link DeviceTable.fetch} gave nothing: beyond the table, or memory that does not answer. */
  failure: "" | "beyond" | "hardware" = "";
  /** Where the entry would stand. */
  failureAddress = 0;
  readonly #memory: PhysicalMemory;
  readonly #context: () => DteContext;
  readonly #segmentBits: () => number;
  readonly #cache: RecentMap<FetchedDte>;
  readonly #words = new Uint32Array(DTE_BYTES / 4);
  /** The entry of a unit that keeps none. */
  readonly #passing = new FetchedDte();
  readonly #segments: readonly Segment[] = Array.from({ length: SEGMENTS }, () => ({
    lo: 0,
    hi: 0,
    address: 0,
    bytes: 4096,
  }));

  /**
   * @param context what entries are judged by
   * @param segmentBits DevTblSegEn: upper bits of the device ID that choose a segment
   */
  constructor(memory: PhysicalMemory, policy: CachePolicy, context: () => DteContext, segmentBits: () => number) {
    this.#memory = memory;
    this.#cache = new RecentMap(policy);
    this.#context = context;
    this.#segmentBits = segmentBits;
  }

  /** A Device Table (Segment) Base register as halves. */
  base(segment: number = 0): readonly [lo: number, hi: number] {
    const found = this.#segments[segment];
    return [found?.lo ?? 0, found?.hi ?? 0];
  }

  /** Writes a Device Table (Segment) Base register. Remembered entries stay. */
  writeBase(lo: number, hi: number, segment: number = 0): void {
    const found = this.#segments[segment];
    if (found !== undefined) {
      Object.assign(found, { lo, hi }, decodeDeviceTableBase(lo, hi));
    }
  }

  /** How many entries are remembered. */
  get kept(): number {
    return this.#cache.size;
  }

  /** The entry of a device; undefined = {@link DeviceTable.failure} says why not. */
  fetch(rid: Rid): FetchedDte | undefined {
    const known = this.#cache.get(rid);
    return known === undefined ? this.#read(rid) : known;
  }

  /** Why interrupts of a device find its entry illegal; `""` = they do not. */
  interruptProblem(dte: FetchedDte): string {
    return this.#load(dte.address) ? interruptProblem(this.#words) : "";
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
    for (const { lo, hi } of this.#segments) {
      into.number(lo);
      into.number(hi);
    }
    this.#cache.digest(into);
  }

  #read(rid: Rid): FetchedDte | undefined {
    const bits = this.#segmentBits();
    const index = bits === 0 ? rid : rid & (2 ** (DEVICE_ID_BITS - bits) - 1);
    const segment = this.#segments[bits === 0 ? 0 : rid >>> (DEVICE_ID_BITS - bits)];
    const address = (segment?.address ?? 0) + index * DTE_BYTES;
    this.failureAddress = address;
    if ((index + 1) * DTE_BYTES > (segment?.bytes ?? 0)) {
      this.failure = "beyond";
      return undefined;
    }
    if (!this.#load(address)) {
      this.failure = "hardware";
      return undefined;
    }
    const entry = this.#cache.off ? this.#passing : new FetchedDte();
    entry.set(this.#words, address);
    entry.illegal = dteProblem(this.#words, entry, this.#context()) !== "";
    if (!entry.illegal) {
      this.#cache.set(rid, entry);
    }
    return entry;
  }

  /** Loads the 256 bits. */
  #load(address: number): boolean {
    const memory = this.#memory;
    const words = this.#words;
    if (!memory.load64(address)) {
      return false;
    }
    words[0] = memory.lo;
    words[1] = memory.hi;
    for (let quadword = 1; quadword < 4; quadword += 1) {
      memory.load64(address + quadword * 8);
      words[quadword * 2] = memory.lo;
      words[quadword * 2 + 1] = memory.hi;
    }
    return true;
  }
}
