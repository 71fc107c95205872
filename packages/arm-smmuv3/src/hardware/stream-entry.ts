import type { Digest, Digestible, PhysicalMemory } from "@iommu-lab/core";
import { addressBits } from "../layout/address-size.ts";
import type { Identification } from "../layout/id-registers.ts";
import { EATS, S1_FMT, STE_CONFIG, STRW } from "../layout/stream-table-entry.ts";
import { judgeStream } from "./stream-rules.ts";
import {
  LAST_LEVEL,
  alignDown,
  firstBlockLevel,
  granuleOf,
  inverseTg0,
  levelShift,
  stage2StartLevel,
} from "./table-geometry.ts";
import { WORLD } from "./world.ts";

/** 64-bit words that the SMMU looks at. */
const WORDS_READ = 4;

/** Bit 0 of STE.Config turns stage 1 on, bit 1 stage 2, if bit 2 is set. */
const STAGE1 = 1;
const STAGE2 = 2;

/**
 * A stream table entry as it was fetched, and what it means. The fields are read with plain shifts: this is on the path
 * of every request whose configuration is not cached, and a second reading of the layout besides `STE`.
 *
 * Source: SMMUv3 §5.2.
 */
export class StreamEntry implements Digestible {
  /** Where it is. */
  address = 0;
  /** The rule it breaks (C_BAD_STE), one of `STE_RULE`; 0 = none. */
  rule = 0;
  /** V. */
  valid = false;
  /** STE.Config. */
  config = 0;
  /** Stage 1 is on; S1DSS may still bypass it. */
  stage1 = false;
  /** Stage 2 is on. */
  stage2 = false;
  /** STE.EATS as it stands. */
  eats = 0;
  s1Dss = 0;
  s1CdMax = 0;
  /** One of `S1_FMT`; linear while substreams are off. */
  s1Fmt = 0;
  contextTable = 0;
  stallDisabled = false;
  strw = 0;
  /** One of {@link WORLD}. */
  world = 0;
  /** S2VMID: a TLB tag of NS-EL1 where there is a stage 2. */
  vmid = 0;
  /** What tags TLB entries besides the ASID: regime and VMID. */
  regime = 0;
  privCfg = 0;
  instCfg = 0;
  /** MEV: similar events may be merged. */
  mergesEvents = false;
  /** Automatic page responses echo the PASID. */
  echoesPasid = false;
  /** S2S: stage-2 faults stall. */
  s2Stalls = false;
  /** S2R: stage-2 faults are recorded. */
  s2Records = false;
  /** S2PTW: a stage-1 walk must not reach device memory. */
  s2ProtectsWalk = false;
  s2AccessFlagOff = false;
  s2SetsAccessFlag = false;
  s2SetsDirty = false;
  s2ForceWriteBack = false;
  s2BigEndian = false;
  s2Aa64 = false;
  s2T0Sz = 0;
  s2Sl0 = 0;
  /** S2DS in effect. */
  s2Ds = false;
  /** log2 of the granule of stage 2; 0 = reserved. */
  s2Granule = 0;
  s2StartLevel = 0;
  /** Descriptors of stage 2 hold 52-bit addresses. */
  s2Large = false;
  /** Smallest level with blocks. */
  s2FirstBlock = 0;
  /** Address of the first table. */
  s2Table = 0;
  /** What tags TLB entries of stage 2. */
  s2Regime = 0;
  /** S2TTB as it stands. */
  s2Ttb = 0;
  /** Output address bits of stage 2. */
  s2OutputBits = 0;
  readonly #words = new Uint32Array(WORDS_READ * 2);

  /** Reads it from where memory answers. */
  fetch(memory: PhysicalMemory, address: number): void {
    memory.loadWords(address, this.#words);
    this.address = address;
  }

  /** Takes an entry's words instead of reading them. */
  take(words: ArrayLike<number>): void {
    for (let index = 0; index < WORDS_READ * 2; index += 1) {
      this.#words[index] = words[index] ?? 0;
    }
  }

  /** Takes the words apart. @param e2h CR2.E2H */
  decode(id: Identification, e2h: boolean): void {
    const words = this.#words;
    const lo0 = words[0] ?? 0;
    const hi0 = words[1] ?? 0;
    const lo1 = words[2] ?? 0;
    const hi1 = words[3] ?? 0;
    this.valid = (lo0 & 1) !== 0;
    this.config = (lo0 >>> 1) & 7;
    this.stage1 = this.config >= STE_CONFIG.bypass && (this.config & STAGE1) !== 0;
    this.stage2 = this.config >= STE_CONFIG.bypass && (this.config & STAGE2) !== 0;
    this.s1CdMax = hi0 >>> 27;
    const format = (lo0 >>> 4) & 3;
    this.s1Fmt = this.s1CdMax === 0 || format > S1_FMT.leaves64K ? S1_FMT.linear : format;
    this.contextTable = (hi0 & 0xffffff) * 2 ** 32 + ((lo0 & 0xffffffc0) >>> 0);
    this.s1Dss = lo1 & 3;
    this.echoesPasid = (lo1 & 0x40000) !== 0;
    this.mergesEvents = (lo1 & 0x80000) !== 0;
    this.s2ForceWriteBack = id.forceWriteBack && (lo1 & 0x2000000) !== 0;
    this.stallDisabled = (lo1 & 0x8000000) !== 0;
    this.eats = (lo1 >>> 28) & 3;
    this.strw = lo1 >>> 30;
    this.privCfg = (hi1 >>> 16) & 3;
    this.instCfg = (hi1 >>> 18) & 3;
    this.vmid = id.stage2 ? (words[4] ?? 0) & 0xffff : 0;
    this.world = worldOf(this, id, e2h);
    this.regime = this.world * 0x10000 + (this.world === WORLD.nsEl1 ? this.vmid : 0);
    if (this.stage2) {
      this.#decodeStage2(id);
    }
    this.rule = judgeStream(this, id);
  }

  #decodeStage2(id: Identification): void {
    const hi2 = this.#words[5] ?? 0;
    const lo3 = this.#words[6] ?? 0;
    this.s2T0Sz = hi2 & 0x3f;
    this.s2Granule = granuleOf((hi2 >>> 14) & 3, inverseTg0);
    this.s2OutputBits = Math.min(addressBits((hi2 >>> 16) & 7), id.oas);
    this.s2Aa64 = (hi2 & 0x80000) !== 0;
    this.s2BigEndian = (hi2 & 0x100000) !== 0;
    this.s2AccessFlagOff = (hi2 & 0x200000) !== 0;
    this.s2ProtectsWalk = (hi2 & 0x400000) !== 0;
    this.s2SetsDirty = (hi2 & 0x800000) !== 0;
    this.s2SetsAccessFlag = (hi2 & 0x1000000) !== 0;
    this.s2Stalls = (hi2 & 0x2000000) !== 0;
    this.s2Records = (hi2 & 0x4000000) !== 0;
    this.s2Ds = id.largeDescriptors && (lo3 & 8) !== 0 && this.s2Granule !== 16;
    this.s2Sl0 = ((hi2 >>> 6) & 3) | (this.s2Ds ? lo3 & 4 : 0);
    this.s2StartLevel = stage2StartLevel(this.s2Granule, this.s2Sl0);
    this.s2Ttb = ((this.#words[7] ?? 0) & 0xfffff) * 2 ** 32 + ((lo3 & 0xfffffff0) >>> 0);
    this.s2Regime = WORLD.stage2 * 0x10000 + this.vmid;
    if (this.s2Granule !== 0 && this.s2StartLevel <= LAST_LEVEL) {
      this.s2Large = this.s2Ds || (this.s2Granule === 16 && id.oas === 52);
      this.s2FirstBlock = firstBlockLevel(this.s2Granule, this.s2Large);
      const indexBits = 64 - this.s2T0Sz - levelShift(this.s2Granule, this.s2StartLevel);
      this.s2Table = alignDown(this.s2Ttb, Math.max(6, indexBits + 3));
    }
  }

  digest(into: Digest): void {
    into.number(this.address);
    into.number(this.world);
    for (const word of this.#words) {
      into.number(word);
    }
  }
}

/** STRW counts for stage 1 alone, and where there is an EL2. */
function worldOf(entry: StreamEntry, id: Identification, e2h: boolean): number {
  if (!id.hyp || entry.config !== STE_CONFIG.stage1 || entry.strw !== STRW.el2) {
    return WORLD.nsEl1;
  }
  return e2h ? WORLD.el2E2h : WORLD.el2;
}

/**
 * What ATS may do on this stream.
 *
 * Source: SMMUv3 §3.9, §13.6.
 *
 * @param checked ATSCHK: split-stage ATS needs it
 */
export function effectiveEats(entry: StreamEntry, id: Identification, checked: boolean): number {
  if (!id.ats || (entry.config & 3) === 0 || entry.eats === EATS.dpt) {
    return EATS.off;
  }
  return entry.eats === EATS.split && !checked ? EATS.off : entry.eats;
}
