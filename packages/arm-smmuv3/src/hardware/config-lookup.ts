import type { PhysicalMemory } from "@iommu-lab/core";
import { CD_BYTES } from "../layout/context-descriptor.ts";
import { EVENT, EVENT_CLASS } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { L1_DESCRIPTOR_BYTES } from "../layout/level1-descriptors.ts";
import { S1_FMT, STE_BYTES } from "../layout/stream-table-entry.ts";
import type { ConfigCache } from "./config-cache.ts";
import { ContextEntry } from "./context-entry.ts";
import type { Control } from "./control.ts";
import type { FaultSite } from "./fault-site.ts";
import type { Stage2 } from "./stage2.ts";
import { StreamEntry } from "./stream-entry.ts";
import { alignDown, power, shiftDown } from "./table-geometry.ts";

/** log2 of sizes in bytes. */
const STE_LOG2 = 6;
const CD_LOG2 = 6;
const L1_DESCRIPTOR_LOG2 = 3;
/** log2 of the context descriptors in a leaf of a two-level table. */
const LEAF_BITS_4K = 6;
const LEAF_BITS_64K = 10;

/** What finds configuration. */
export interface ConfigLookupParts {
  readonly memory: PhysicalMemory;
  readonly id: Identification;
  readonly control: Control;
  readonly configs: ConfigCache;
  /** Context descriptors of nested streams are behind it. */
  readonly stage2: Stage2;
  /** Gets where a fault is. */
  readonly site: FaultSite;
}

/**
 * Finds the stream table entry and the context descriptor of a request, in the caches or in memory. One object per SMMU,
 * reused.
 *
 * Source: SMMUv3 §3.3, §3.4, §5.1, §5.3.
 */
export class ConfigLookup {
  /** The stream's entry, after {@link ConfigLookup.findStream} gave 0. */
  stream: StreamEntry = new StreamEntry();
  /** The context descriptor, after {@link ConfigLookup.findContext} gave 0. */
  context: ContextEntry = new ContextEntry();
  readonly #memory: PhysicalMemory;
  readonly #id: Identification;
  readonly #control: Control;
  readonly #configs: ConfigCache;
  readonly #stage2: Stage2;
  readonly #site: FaultSite;
  /** Where the structure to read next is. */
  #address = 0;

  constructor(parts: ConfigLookupParts) {
    this.#memory = parts.memory;
    this.#id = parts.id;
    this.#control = parts.control;
    this.#configs = parts.configs;
    this.#stage2 = parts.stage2;
    this.#site = parts.site;
  }

  /** Finds a stream's entry, valid or not. @returns 0, C_BAD_STREAMID or F_STE_FETCH */
  findStream(sid: number): number {
    const cached = this.#configs.stream(sid);
    if (cached !== undefined) {
      this.stream = cached;
      this.#site.address = cached.address;
      return 0;
    }
    const { log2Size, twoLevels } = this.#control.streamTable;
    const bits = Math.min(log2Size, this.#id.streamIdBits);
    if (sid >= power(bits)) {
      this.#site.address = 0;
      return EVENT.C_BAD_STREAMID;
    }
    if (twoLevels) {
      const failure = this.#locateTwoLevels(sid, bits);
      if (failure !== 0) {
        return failure;
      }
    } else {
      this.#address = alignDown(this.#control.streamTableAddress, STE_LOG2 + bits) + STE_BYTES * sid;
    }
    return this.#fetchStream(sid);
  }

  /** Finds the context descriptor of a SubstreamID. @returns 0, F_CD_FETCH, C_BAD_SUBSTREAMID, or an event of stage 2 */
  findContext(sid: number, stream: StreamEntry, ssid: number): number {
    const cached = this.#configs.context(ssid);
    if (cached !== undefined) {
      this.context = cached;
      this.#site.address = cached.address;
      return 0;
    }
    if (stream.s1Fmt === S1_FMT.linear) {
      this.#address = alignDown(stream.contextTable, CD_LOG2 + stream.s1CdMax) + CD_BYTES * ssid;
    } else {
      const failure = this.#locateContext(stream, ssid);
      if (failure !== 0) {
        return failure;
      }
    }
    return this.#fetchContext(stream, ssid);
  }

  #locateTwoLevels(sid: number, bits: number): number {
    const { split } = this.#control.streamTable;
    const index = shiftDown(sid, split);
    let entry = this.#configs.level1(index);
    if (entry === undefined) {
      const log2Bytes = Math.max(STE_LOG2, L1_DESCRIPTOR_LOG2 + bits - split);
      const address = alignDown(this.#control.streamTableAddress, log2Bytes) + L1_DESCRIPTOR_BYTES * index;
      this.#site.address = address;
      if (!this.#memory.load64(address)) {
        return EVENT.F_STE_FETCH;
      }
      entry = this.#configs.newLevel1(index);
      entry.setStreams(address, this.#memory.lo, this.#memory.hi, split);
    }
    const below = sid - index * power(split);
    if (below >= entry.count) {
      this.#site.address = entry.address;
      return EVENT.C_BAD_STREAMID;
    }
    this.#address = entry.pointer + STE_BYTES * below;
    return 0;
  }

  /** A failed fetch is not kept: the entry's words are read before it takes a place in the cache. */
  #fetchStream(sid: number): number {
    const address = this.#address;
    this.#site.address = address;
    if (!this.#memory.exists(address)) {
      return EVENT.F_STE_FETCH;
    }
    this.stream = this.#configs.newStream(sid);
    this.stream.fetch(this.#memory, address);
    this.stream.decode(this.#id, this.#control.e2h);
    return 0;
  }

  #locateContext(stream: StreamEntry, ssid: number): number {
    const bits = stream.s1Fmt === S1_FMT.leaves4K ? LEAF_BITS_4K : LEAF_BITS_64K;
    const index = ssid >>> bits;
    let entry = this.#configs.contextLevel1(index);
    if (entry === undefined) {
      const log2Bytes = Math.max(CD_LOG2, L1_DESCRIPTOR_LOG2 + stream.s1CdMax - bits);
      this.#address = alignDown(stream.contextTable, log2Bytes) + L1_DESCRIPTOR_BYTES * index;
      const failure = this.#throughStage2(stream);
      if (failure !== 0) {
        return failure;
      }
      if (!this.#memory.load64(this.#address)) {
        return EVENT.F_CD_FETCH;
      }
      entry = this.#configs.newContextLevel1(index);
      entry.setContexts(this.#address, this.#memory.lo, this.#memory.hi, bits);
    }
    if (entry.count === 0 || entry.pointer >= power(this.#id.oas)) {
      this.#site.address = entry.address;
      return EVENT.C_BAD_SUBSTREAMID;
    }
    this.#address = entry.pointer + CD_BYTES * (ssid & (power(bits) - 1));
    return 0;
  }

  #fetchContext(stream: StreamEntry, ssid: number): number {
    const failure = this.#throughStage2(stream);
    if (failure !== 0) {
      return failure;
    }
    const address = this.#address;
    if (!this.#memory.exists(address)) {
      return EVENT.F_CD_FETCH;
    }
    const context = this.#configs.newContext(ssid);
    context.fetch(this.#memory, address);
    context.decode(this.#id, stream);
    this.context = context;
    return 0;
  }

  /** Where stage 2 is on, the address is an intermediate one. */
  #throughStage2(stream: StreamEntry): number {
    if (stream.stage2) {
      const event = this.#stage2.fetch(stream, this.#address, EVENT_CLASS.cd, false);
      if (event !== 0) {
        return event;
      }
      this.#address = this.#stage2.address;
    }
    this.#site.address = this.#address;
    return 0;
  }
}
