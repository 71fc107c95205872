import { addressBits } from "../layout/address-size.ts";
import { type CdField, decodeCd, granuleOfTg0, granuleOfTg1 } from "../layout/context-descriptor.ts";
import type { Identification } from "../layout/id-registers.ts";
import { HTTU, STALL_MODEL, TT_ENDIAN } from "../layout/id-registers.ts";

type Fields = Readonly<Record<CdField, number>>;

/** One half of the input range: what TTB0 or TTB1 translates. */
export interface TableRange {
  /** EPDx = 0. */
  readonly enabled: boolean;
  /** Physical address of the top table. */
  readonly table: number;
  /** TxSZ. */
  readonly tSz: number;
  /** log2 of the granule. */
  readonly granule: number;
  /** TBIx: bits 63:56 do not count. */
  readonly topByteIgnored: boolean;
  /** HADx: permissions in table descriptors do not count. */
  readonly hierarchicalOff: boolean;
}

/** A context descriptor as it was fetched. */
export interface ContextEntry {
  /** Where it is. */
  readonly address: number;
  /** It breaks a rule (C_BAD_CD). */
  readonly bad: boolean;
  readonly asid: number;
  /** ASET: global TLB entries of sets 0 and 1 are kept apart. */
  readonly aset: number;
  readonly low: TableRange;
  readonly high: TableRange;
  /** Output address bits. */
  readonly outputBits: number;
  /** AFFD: AF = 0 does not fault. */
  readonly accessFlagOff: boolean;
  readonly wxn: boolean;
  /** HA: the SMMU sets AF. */
  readonly setsAccessFlag: boolean;
  /** HD: the SMMU makes clean pages dirty. */
  readonly setsDirty: boolean;
  /** R: translation faults are recorded. */
  readonly records: boolean;
  readonly mair0: number;
  readonly mair1: number;
}

function granuleSupported(granule: number, id: Identification): boolean {
  switch (granule) {
    case 12:
      return id.granule4K;
    case 14:
      return id.granule16K;
    case 16:
      return id.granule64K;
    default:
      return false;
  }
}

function badRange(range: TableRange, outputBits: number, id: Identification): boolean {
  if (!range.enabled) {
    return false;
  }
  const largest = id.smallTables ? (range.granule === 16 ? 47 : 48) : 39;
  return (
    !granuleSupported(range.granule, id) ||
    range.tSz < 16 ||
    range.tSz > largest ||
    range.table >= 2 ** Math.min(outputBits, id.oas)
  );
}

function badStall(fields: Fields, id: Identification, stallDisabled: boolean): boolean {
  const stalls = fields.s === 1;
  return (
    (stalls && (stallDisabled || id.stallModel === STALL_MODEL.terminate)) ||
    (!stalls && id.stallModel === STALL_MODEL.stallForced) ||
    (fields.a === 0 && id.alwaysAborts)
  );
}

/** Source: SMMUv3 §5.4.1. AArch32 tables are not supported. */
function isBad(fields: Fields, id: Identification, stallDisabled: boolean): boolean {
  const endianness = fields.endi === 1 ? TT_ENDIAN.big : TT_ENDIAN.little;
  return (
    fields.v === 0 ||
    fields.aa64 === 0 ||
    badStall(fields, id, stallDisabled) ||
    (fields.ha === 1 && id.httu < HTTU.accessFlag) ||
    (fields.hd === 1 && id.httu < HTTU.accessFlagAndDirty) ||
    (fields.haft === 1 && fields.ha === 0) ||
    (id.ttEndian !== TT_ENDIAN.mixed && id.ttEndian !== endianness) ||
    (id.asidBits === 8 && fields.asid > 0xff)
  );
}

/** Takes a context descriptor apart. @param stallDisabled STE.S1STALLD */
export function contextEntry(
  address: number,
  words: ArrayLike<number>,
  id: Identification,
  stallDisabled: boolean,
): ContextEntry {
  const fields = decodeCd(words);
  const outputBits = Math.min(addressBits(fields.ips), id.oas);
  const hierarchicalOff = (had: number): boolean => id.hierarchicalAttributesOff && had === 1;
  const low: TableRange = {
    enabled: fields.epd0 === 0,
    table: fields.ttb0,
    tSz: fields.t0Sz,
    granule: granuleOfTg0(fields.tg0),
    topByteIgnored: fields.tbi0 === 1,
    hierarchicalOff: hierarchicalOff(fields.had0),
  };
  const high: TableRange = {
    enabled: fields.epd1 === 0,
    table: fields.ttb1,
    tSz: fields.t1Sz,
    granule: granuleOfTg1(fields.tg1),
    topByteIgnored: fields.tbi1 === 1,
    hierarchicalOff: hierarchicalOff(fields.had1),
  };
  return {
    address,
    bad: isBad(fields, id, stallDisabled) || badRange(low, outputBits, id) || badRange(high, outputBits, id),
    asid: fields.asid,
    aset: fields.aset,
    low,
    high,
    outputBits,
    accessFlagOff: fields.affd === 1,
    wxn: fields.wxn === 1,
    setsAccessFlag: fields.ha === 1,
    setsDirty: fields.ha === 1 && fields.hd === 1,
    records: fields.r === 1,
    mair0: fields.mair0,
    mair1: fields.mair1,
  };
}
