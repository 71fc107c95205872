import { type PhysicalMemory, getField, newWords } from "@iommu-lab/core";
import { CD_BYTES, CD_WORDS } from "../layout/context-descriptor.ts";
import { EVENT } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { L1CD, L1STD, L1STD_SPAN_MAX, L1_DESCRIPTOR_BYTES } from "../layout/level1-descriptors.ts";
import { S1_FMT, STE_BYTES, STE_WORDS } from "../layout/stream-table-entry.ts";
import type { ConfigCache, Level1Entry } from "./config-cache.ts";
import type { ContextEntry } from "./context-entry.ts";
import { contextEntry } from "./context-entry.ts";
import type { Control } from "./control.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { streamEntry } from "./stream-entry.ts";

/** log2 of the context descriptors in a leaf of a two-level table. */
const LEAF_BITS_4K = 6;
const LEAF_BITS_64K = 10;

/**
 * Finds the stream table entry and the context descriptor of a request, in the caches or in memory. One object per SMMU,
 * reused.
 *
 * Source: SMMUv3 §3.3, §3.4, §5.1, §5.3.
 */
export class ConfigLookup {
  /** The stream's entry, after {@link ConfigLookup.findStream} gave 0. */
  stream: StreamEntry | undefined;
  /** The context descriptor, after {@link ConfigLookup.findContext} gave 0. */
  context: ContextEntry | undefined;
  /** Where the structure looked at last is; after a failed fetch, what could not be fetched. */
  address = 0;
  readonly #memory: PhysicalMemory;
  readonly #id: Identification;
  readonly #control: Control;
  readonly #cache: ConfigCache;

  constructor(memory: PhysicalMemory, id: Identification, control: Control, cache: ConfigCache) {
    this.#memory = memory;
    this.#id = id;
    this.#control = control;
    this.#cache = cache;
  }

  /** Finds a stream's entry, valid or not. @returns 0, C_BAD_STREAMID or F_STE_FETCH */
  findStream(sid: number): number {
    this.stream = this.#cache.stream(sid);
    if (this.stream !== undefined) {
      this.address = this.stream.address;
      return 0;
    }
    const { log2Size, twoLevels } = this.#control.streamTable;
    const bits = Math.min(log2Size, this.#id.streamIdBits);
    if (sid >= 2 ** bits) {
      this.address = 0;
      return EVENT.C_BAD_STREAMID;
    }
    const failure = twoLevels ? this.#locateTwoLevels(sid, bits) : this.#locateLinear(sid, bits);
    return failure === 0 ? this.#fetchStream(sid) : failure;
  }

  /** Finds the context descriptor of a SubstreamID. @returns 0, F_CD_FETCH or C_BAD_SUBSTREAMID */
  findContext(sid: number, stream: StreamEntry, ssid: number): number {
    this.context = this.#cache.context(sid, ssid);
    if (this.context !== undefined) {
      this.address = this.context.address;
      return 0;
    }
    if (stream.s1Fmt === S1_FMT.linear) {
      const bytes = CD_BYTES * 2 ** stream.s1CdMax;
      this.address = aligned(stream.contextTable, bytes) + CD_BYTES * ssid;
    } else {
      const failure = this.#locateContext(sid, stream, ssid);
      if (failure !== 0) {
        return failure;
      }
    }
    const { address } = this;
    const words = this.#load(address, CD_WORDS);
    if (words === undefined) {
      return EVENT.F_CD_FETCH;
    }
    this.context = contextEntry(address, words, this.#id, stream.stallDisabled);
    this.#cache.keepContext(sid, ssid, this.context);
    return 0;
  }

  #locateLinear(sid: number, bits: number): number {
    this.address = aligned(this.#control.streamTableAddress, STE_BYTES * 2 ** bits) + STE_BYTES * sid;
    return 0;
  }

  #locateTwoLevels(sid: number, bits: number): number {
    const { split } = this.#control.streamTable;
    const index = Math.floor(sid / 2 ** split);
    let entry = this.#cache.level1(index);
    if (entry === undefined) {
      const bytes = Math.max(STE_BYTES, L1_DESCRIPTOR_BYTES * 2 ** Math.max(0, bits - split));
      this.address = aligned(this.#control.streamTableAddress, bytes) + L1_DESCRIPTOR_BYTES * index;
      if (!this.#memory.load64(this.address)) {
        return EVENT.F_STE_FETCH;
      }
      entry = level1Stream(this.address, this.#memory.lo, this.#memory.hi, split);
      this.#cache.keepLevel1(index, entry);
    }
    const below = sid % 2 ** split;
    if (below >= entry.count) {
      this.address = entry.address;
      return EVENT.C_BAD_STREAMID;
    }
    this.address = entry.pointer + STE_BYTES * below;
    return 0;
  }

  #fetchStream(sid: number): number {
    const { address } = this;
    const words = this.#load(address, STE_WORDS);
    if (words === undefined) {
      return EVENT.F_STE_FETCH;
    }
    this.stream = streamEntry(address, words, this.#id, this.#control.e2h);
    this.#cache.keepStream(sid, this.stream);
    return 0;
  }

  #locateContext(sid: number, stream: StreamEntry, ssid: number): number {
    const bits = stream.s1Fmt === S1_FMT.leaves4K ? LEAF_BITS_4K : LEAF_BITS_64K;
    const index = Math.floor(ssid / 2 ** bits);
    let entry = this.#cache.contextLevel1(sid, index);
    if (entry === undefined) {
      const bytes = Math.max(CD_BYTES, L1_DESCRIPTOR_BYTES * 2 ** Math.max(0, stream.s1CdMax - bits));
      this.address = aligned(stream.contextTable, bytes) + L1_DESCRIPTOR_BYTES * index;
      if (!this.#memory.load64(this.address)) {
        return EVENT.F_CD_FETCH;
      }
      entry = level1Context(this.address, this.#memory.lo, this.#memory.hi, bits);
      this.#cache.keepContextLevel1(sid, index, entry);
    }
    if (entry.count === 0 || entry.pointer >= 2 ** this.#id.oas) {
      this.address = entry.address;
      return EVENT.C_BAD_SUBSTREAMID;
    }
    this.address = entry.pointer + CD_BYTES * (ssid % 2 ** bits);
    return 0;
  }

  #load(address: number, count: number): Uint32Array | undefined {
    const words = newWords(count);
    for (let word = 0; word < count; word += 1) {
      if (!this.#memory.load64(address + word * 8)) {
        return undefined;
      }
      words[word * 2] = this.#memory.lo;
      words[word * 2 + 1] = this.#memory.hi;
    }
    return words;
  }
}

function aligned(address: number, bytes: number): number {
  return address - (address % bytes);
}

/** A Span that is 0, reserved, or reaches beyond SPLIT leads nowhere. Source: SMMUv3 §5.1. */
function level1Stream(address: number, lo: number, hi: number, split: number): Level1Entry {
  const span = getField([lo, hi], L1STD.span);
  const valid = span > 0 && span <= L1STD_SPAN_MAX && span <= split + 1;
  const count = valid ? 2 ** (span - 1) : 0;
  return { address, count, pointer: valid ? aligned(getField([lo, hi], L1STD.l2Ptr), STE_BYTES * count) : 0 };
}

function level1Context(address: number, lo: number, hi: number, bits: number): Level1Entry {
  const count = getField([lo, hi], L1CD.v) === 0 ? 0 : 2 ** bits;
  return { address, count, pointer: aligned(getField([lo, hi], L1CD.l2Ptr), CD_BYTES * 2 ** bits) };
}
