import { type Op, type Words, Lock } from "@iommu-lab/core";
import type { AlignedRange } from "../layout/address-range.ts";
import { ALL_PAGES_ORDER } from "../layout/address-range.ts";
import {
  GRANULARITY_DOMAIN,
  deviceTlbInvalidation,
  iotlbInvalidation,
  iotlbPageInvalidation,
  pasidDeviceTlbInvalidation,
  pasidIotlbInvalidation,
  pasidIotlbPageInvalidation,
} from "../layout/descriptor.ts";
import type { DeviceInfo } from "./device-info.ts";
import { drains } from "./invalidations.ts";
import type { ServedUnit } from "./served-unit.ts";

/** `QI_MAX_BATCHED_DESC_COUNT`. */
const BATCH = 16;

/** A cache that may hold translations of a domain (`struct cache_tag`). */
interface CacheTag {
  readonly type: "iotlb" | "devtlb";
  readonly unit: ServedUnit;
  readonly domainId: number;
  /** 0 = requests without PASID. */
  readonly pasid: number;
  /** The device of a device-TLB. */
  readonly info: DeviceInfo | undefined;
  users: number;
}

/**
 * Where translations of one domain may be cached, and how they are taken back: per unit one batch with one wait at its
 * end, each device-TLB after the IOTLB in the order in which the tags were made.
 *
 * Source: Linux 7.2 drivers/iommu/intel/cache.c.
 */
export class CacheTags {
  /** `domain->cache_lock`. */
  readonly #lock: Lock;
  /** PASID-based IOTLB invalidations are used: the domain is a first-stage one. */
  readonly #firstStage: boolean;
  /** Descriptors are submitted together, with one wait. */
  readonly #batched: boolean;
  #tags: CacheTag[] = [];

  /** @param batched false = each descriptor has a wait of its own (6.1) */
  constructor(name: string, firstStage: boolean, batched: boolean = true) {
    this.#lock = new Lock(`${name} cache_lock`);
    this.#firstStage = firstStage;
    this.#batched = batched;
  }

  /** How many different caches are known. */
  get size(): number {
    return this.#tags.length;
  }

  /** A device's PASID starts to use the domain: the unit's IOTLB, and its device-TLB while ATS is on. */
  *assign(info: DeviceInfo, domainId: number, pasid: number): Op<void> {
    yield* this.#add("iotlb", info, domainId, pasid);
    if (info.atsEnabled) {
      yield* this.assignDeviceTlb(info, domainId, pasid);
    }
  }

  /** The device-TLB alone: ATS was switched on. */
  *assignDeviceTlb(info: DeviceInfo, domainId: number, pasid: number): Op<void> {
    yield* this.#add("devtlb", info, domainId, pasid);
  }

  /** A device's PASID stops using the domain. */
  *unassign(info: DeviceInfo, domainId: number, pasid: number): Op<void> {
    yield* this.#remove("iotlb", info, domainId, pasid);
    if (info.atsEnabled) {
      yield* this.unassignDeviceTlb(info, domainId, pasid);
    }
  }

  /** The device-TLB alone: ATS was switched off. */
  *unassignDeviceTlb(info: DeviceInfo, domainId: number, pasid: number): Op<void> {
    yield* this.#remove("devtlb", info, domainId, pasid);
  }

  /**
   * Takes a range back after its mappings changed.
   *
   * @param leafOnly no table above the leaves was freed
   * @param at what for
   */
  *flushRange(range: AlignedRange, leafOnly: boolean, at: "unmap" | "flush-all" = "unmap"): Op<void> {
    yield* this.#flush((tag) =>
      tag.type === "iotlb"
        ? tag.unit.queue.kept(`${at}:iotlb`, [this.#iotlb(tag, range, leafOnly)])
        : tag.unit.queue.kept(`${at}:devtlb`, deviceTlb(tag, range)),
    );
  }

  /**
   * New mappings were made. Only a unit in caching mode may remember that there was nothing.
   *
   * Source: Linux 7.2 `cache_tag_flush_range_np()`.
   */
  *flushRangeNotPresent(range: AlignedRange): Op<void> {
    for (const tag of this.#tags) {
      if (!tag.unit.iommu.caps.cm || this.#firstStage) {
        yield* tag.unit.iommu.flushWriteBuffer();
      }
    }
    yield* this.#flush((tag) =>
      tag.type === "iotlb" && tag.unit.iommu.caps.cm && !this.#firstStage
        ? tag.unit.queue.kept("map:iotlb", [this.#iotlb(tag, range, false)])
        : [],
    );
  }

  *#flush(descriptorsOf: (tag: CacheTag) => readonly Words[]): Op<void> {
    yield this.#lock.exclusive;
    let unit: ServedUnit | undefined;
    let batch: Words[] = [];
    for (const tag of this.#tags) {
      if (unit !== undefined && unit !== tag.unit && batch.length > 0) {
        yield* unit.queue.submit(batch);
        batch = [];
      }
      ({ unit } = tag);
      for (const words of descriptorsOf(tag)) {
        batch.push(words);
        if (batch.length === (this.#batched ? BATCH : 1)) {
          yield* unit.queue.submit(batch);
          batch = [];
        }
      }
    }
    if (unit !== undefined && batch.length > 0) {
      yield* unit.queue.submit(batch);
    }
    this.#lock.release();
  }

  /** Source: Linux 7.2 `cache_tag_flush_iotlb()`. */
  #iotlb({ unit, domainId, pasid }: CacheTag, { page, order }: AlignedRange, leafOnly: boolean): Words {
    if (this.#firstStage) {
      return order >= ALL_PAGES_ORDER
        ? pasidIotlbInvalidation(domainId, pasid)
        : pasidIotlbPageInvalidation(domainId, pasid, page, order, leafOnly);
    }
    const { caps } = unit.iommu;
    if (!caps.psi || order > caps.mamv) {
      return iotlbInvalidation(GRANULARITY_DOMAIN, domainId, drains(unit));
    }
    return iotlbPageInvalidation(domainId, page, order, leafOnly, drains(unit));
  }

  *#add(type: CacheTag["type"], info: DeviceInfo, domainId: number, pasid: number): Op<void> {
    yield this.#lock.exclusive;
    const known = this.#find(type, info, domainId, pasid);
    if (known === undefined) {
      const tag: CacheTag = {
        type,
        unit: info.unit,
        domainId,
        pasid,
        info: type === "devtlb" ? info : undefined,
        users: 1,
      };
      // Tags of one unit stay together, so that they fit into one batch; those of a new unit come first.
      const last = this.#tags.findLastIndex(({ unit }) => unit === info.unit);
      this.#tags.splice(last + 1, 0, tag);
    } else {
      known.users += 1;
    }
    this.#lock.release();
  }

  *#remove(type: CacheTag["type"], info: DeviceInfo, domainId: number, pasid: number): Op<void> {
    yield this.#lock.exclusive;
    const known = this.#find(type, info, domainId, pasid);
    if (known !== undefined) {
      known.users -= 1;
      this.#tags = this.#tags.filter((tag) => tag.users > 0);
    }
    this.#lock.release();
  }

  #find(type: CacheTag["type"], info: DeviceInfo, domainId: number, pasid: number): CacheTag | undefined {
    return this.#tags.find(
      (tag) =>
        tag.type === type &&
        tag.domainId === domainId &&
        tag.pasid === pasid &&
        (type === "iotlb" ? tag.unit === info.unit : tag.info === info),
    );
  }
}

/** Nothing while translation is off; twice for devices that need it. Source: `cache_tag_flush_devtlb_psi()`. */
function deviceTlb({ unit, info, pasid }: CacheTag, { page, order }: AlignedRange): readonly Words[] {
  if (info === undefined || !unit.iommu.translating) {
    return [];
  }
  const words =
    pasid === 0
      ? deviceTlbInvalidation(info.target, page, order)
      : pasidDeviceTlbInvalidation(info.target, pasid, page, order);
  return info.extraInvalidation ? [words, words] : [words];
}
