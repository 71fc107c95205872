import type { Digest, Digestible, PhysicalMemory } from "@iommu-lab/core";
import { addressBits } from "../layout/address-size.ts";
import { HTTU, type Identification } from "../layout/id-registers.ts";
import { judgeContext } from "./context-rules.ts";
import type { StreamEntry } from "./stream-entry.ts";
import {
  alignDown,
  firstBlockLevel,
  granuleOf,
  inverseTg0,
  inverseTg1,
  levelShift,
  stage1StartLevel,
} from "./table-geometry.ts";

/** 64-bit words that the SMMU looks at. */
const WORDS_READ = 4;

/** One half of the input range: what TTB0 or TTB1 translates. */
export class TableRange {
  /** It is the upper half. */
  readonly high: boolean;
  /** EPDx = 0. */
  enabled = false;
  /** TTBx as it stands. */
  ttb = 0;
  /** Physical address (with stage 2: intermediate address) of the first table. */
  table = 0;
  /** TxSZ. */
  tSz = 0;
  /** log2 of the granule; 0 = reserved. */
  granule = 0;
  /** Level of the first table. */
  startLevel = 0;
  /** Smallest level with blocks. */
  firstBlock = 0;
  /** Descriptors hold 52-bit addresses. */
  large = false;
  /** TBIx: bits 63:56 do not count. */
  topByteIgnored = false;
  /** HADx: permissions in table descriptors do not count. */
  hierarchicalOff = false;
  /** E0PDx: unprivileged accesses fault. */
  privilegedOnly = false;

  constructor(high: boolean) {
    this.high = high;
  }

  /** Works out where the walk starts. */
  locate(): void {
    if (this.granule === 0) {
      return;
    }
    this.firstBlock = firstBlockLevel(this.granule, this.large);
    this.startLevel = stage1StartLevel(this.granule, this.tSz);
    const log2Bytes = 3 + 64 - this.tSz - levelShift(this.granule, this.startLevel);
    this.table = alignDown(this.ttb, Math.max(6, log2Bytes));
  }
}

/**
 * A context descriptor as it was fetched, and what it means. Read with plain shifts, as the STE is.
 *
 * Source: SMMUv3 §5.4.
 */
export class ContextEntry implements Digestible {
  /** Where it is. */
  address = 0;
  /** The rule it breaks (C_BAD_CD), one of `CD_RULE`; 0 = none. */
  rule = 0;
  valid = false;
  aa64 = false;
  asid = 0;
  /** ASET: global TLB entries of sets 0 and 1 are kept apart, and set 1 is not in the broadcasts of CPUs. */
  aset = 0;
  readonly low: TableRange = new TableRange(false);
  readonly high: TableRange = new TableRange(true);
  /** Output address bits. */
  outputBits = 0;
  /** AFFD: AF = 0 does not fault. */
  accessFlagOff = false;
  wxn = false;
  pan = false;
  epan = false;
  bigEndian = false;
  /** HA: the SMMU sets AF. */
  setsAccessFlag = false;
  /** HD as it stands. */
  hd = false;
  /** HA and HD: the SMMU makes clean pages dirty. */
  setsDirty = false;
  /** HAFT as it stands. */
  haft = false;
  /** HAFT in effect: the SMMU sets AF in table descriptors. */
  setsTableAccessFlag = false;
  /** S: translation faults stall. */
  stalls = false;
  /** R: translation faults are recorded. */
  records = false;
  /** A: translation faults abort; else reads give zero and writes are ignored. */
  aborts = false;
  mair0 = 0;
  mair1 = 0;
  readonly #words = new Uint32Array(WORDS_READ * 2);

  /** Reads it from where memory answers. */
  fetch(memory: PhysicalMemory, address: number): void {
    memory.loadWords(address, this.#words);
    this.address = address;
  }

  /** Takes a descriptor's words instead of reading them. */
  take(words: ArrayLike<number>): void {
    for (let index = 0; index < WORDS_READ * 2; index += 1) {
      this.#words[index] = words[index] ?? 0;
    }
  }

  /** Takes the words apart, for a stream. */
  decode(id: Identification, stream: StreamEntry): void {
    const words = this.#words;
    const lo0 = words[0] ?? 0;
    const hi0 = words[1] ?? 0;
    const lo1 = words[2] ?? 0;
    this.valid = lo0 >>> 31 !== 0;
    this.bigEndian = (lo0 & 0x8000) !== 0;
    this.outputBits = Math.min(addressBits(hi0 & 7), id.oas);
    this.accessFlagOff = (hi0 & 8) !== 0;
    this.wxn = (hi0 & 0x10) !== 0;
    this.pan = (hi0 & 0x100) !== 0;
    this.aa64 = (hi0 & 0x200) !== 0;
    this.hd = (hi0 & 0x400) !== 0;
    this.setsAccessFlag = (hi0 & 0x800) !== 0;
    this.setsDirty = this.setsAccessFlag && this.hd;
    this.stalls = (hi0 & 0x1000) !== 0;
    this.records = (hi0 & 0x2000) !== 0;
    this.aborts = (hi0 & 0x4000) !== 0;
    this.aset = (hi0 >>> 15) & 1;
    this.asid = hi0 >>> 16;
    this.haft = (lo1 & 8) !== 0;
    this.setsTableAccessFlag = this.haft && this.setsAccessFlag && id.httu === HTTU.tableAccessFlag;
    this.epan = ((words[3] ?? 0) & 0x8000000) !== 0;
    this.mair0 = words[6] ?? 0;
    this.mair1 = words[7] ?? 0;
    this.#decodeRanges(id);
    this.rule = judgeContext(this, id, stream);
  }

  #decodeRanges(id: Identification): void {
    const words = this.#words;
    const lo0 = words[0] ?? 0;
    const hi0 = words[1] ?? 0;
    const large = id.largeDescriptors && ((words[5] ?? 0) & 0x4000000) !== 0;
    const { low, high } = this;
    low.enabled = (lo0 & 0x4000) === 0;
    low.tSz = lo0 & 0x3f;
    low.granule = granuleOf((lo0 >>> 6) & 3, inverseTg0);
    low.topByteIgnored = (hi0 & 0x40) !== 0;
    setTable(low, words[2] ?? 0, words[3] ?? 0, id, large);
    high.enabled = (lo0 & 0x40000000) === 0;
    if (high.enabled) {
      high.tSz = (lo0 >>> 16) & 0x3f;
      high.granule = granuleOf((lo0 >>> 22) & 3, inverseTg1);
      high.topByteIgnored = (hi0 & 0x80) !== 0;
      setTable(high, words[4] ?? 0, words[5] ?? 0, id, large);
    }
  }

  digest(into: Digest): void {
    into.number(this.address);
    for (const word of this.#words) {
      into.number(word);
    }
  }
}

/** What words 1 and 2 of a descriptor say of a half. */
function setTable(range: TableRange, lo: number, hi: number, id: Identification, large: boolean): void {
  range.hierarchicalOff = id.hierarchicalAttributesOff && (lo & 2) !== 0;
  range.privilegedOnly = id.unprivilegedRangeOff && (lo & 4) !== 0;
  range.large = range.granule === 16 ? id.oas === 52 : large;
  range.ttb = (hi & 0xfffff) * 2 ** 32 + ((lo & 0xfffffff0) >>> 0);
  range.locate();
}
