import type { Identification } from "../layout/id-registers.ts";
import { STALL_MODEL } from "../layout/id-registers.ts";
import { EATS, S1_FMT, STE_CONFIG, STRW, type SteField, decodeSte } from "../layout/stream-table-entry.ts";

/** Translation regimes; TLB entries of one never serve another. Source: SMMUv3 §3.17. */
export const WORLD = { nsEl1: 0, el2: 1, el2E2h: 2 } as const;

/** A stream table entry as it was fetched. */
export interface StreamEntry {
  /** Where it is. */
  readonly address: number;
  /** It breaks a rule (C_BAD_STE). */
  readonly bad: boolean;
  /** STE.Config. */
  readonly config: number;
  /** STE.EATS as it stands. */
  readonly eats: number;
  readonly s1Dss: number;
  readonly s1CdMax: number;
  /** One of `S1_FMT`; linear while substreams are off. */
  readonly s1Fmt: number;
  readonly contextTable: number;
  readonly stallDisabled: boolean;
  /** One of {@link WORLD}. */
  readonly world: number;
  /** S2VMID: a TLB tag of NS-EL1 where there is a stage 2. */
  readonly vmid: number;
  readonly privCfg: number;
  readonly instCfg: number;
  /** Automatic page responses echo the PASID. */
  readonly echoesPasid: boolean;
}

function worldOf(fields: Readonly<Record<SteField, number>>, id: Identification, e2h: boolean): number {
  if (!id.hyp || fields.strw !== STRW.el2) {
    return WORLD.nsEl1;
  }
  return e2h ? WORLD.el2E2h : WORLD.el2;
}

/** Stage 1 alone is translated; an entry that turns stage 2 on selects a stage that is not there. */
function badStage1(fields: Readonly<Record<SteField, number>>, id: Identification): boolean {
  const substreams = fields.s1CdMax > 0;
  return (
    !id.stage1 ||
    (id.hyp && (fields.strw & 1) !== 0) ||
    (fields.s1StallD === 1 && id.stallModel !== STALL_MODEL.stallOrTerminate) ||
    fields.s1CdMax > id.substreamIdBits ||
    (substreams && !id.twoLevelCd && (fields.s1Fmt === S1_FMT.leaves4K || fields.s1Fmt === S1_FMT.leaves64K)) ||
    fields.s1ContextPtr >= 2 ** id.oas ||
    (id.ats && fields.eats === EATS.split)
  );
}

/** Source: SMMUv3 §5.2.2. */
function isBad(fields: Readonly<Record<SteField, number>>, id: Identification): boolean {
  if (fields.v === 0) {
    return true;
  }
  switch (fields.config) {
    case STE_CONFIG.stage1:
      return badStage1(fields, id);
    case STE_CONFIG.stage2:
    case STE_CONFIG.nested:
      return true;
    default:
      return false;
  }
}

/** Takes a stream table entry apart. @param e2h CR2.E2H */
export function streamEntry(address: number, words: ArrayLike<number>, id: Identification, e2h: boolean): StreamEntry {
  const fields = decodeSte(words);
  return {
    address,
    bad: isBad(fields, id),
    config: fields.config,
    eats: fields.eats,
    s1Dss: fields.s1Dss,
    s1CdMax: fields.s1CdMax,
    s1Fmt: fields.s1CdMax === 0 || fields.s1Fmt > S1_FMT.leaves64K ? S1_FMT.linear : fields.s1Fmt,
    contextTable: fields.s1ContextPtr,
    stallDisabled: fields.s1StallD === 1,
    world: worldOf(fields, id, e2h),
    vmid: id.stage2 ? fields.s2Vmid : 0,
    privCfg: fields.privCfg,
    instCfg: fields.instCfg,
    echoesPasid: fields.ppar === 1,
  };
}

/**
 * What ATS may do on this stream. Device permission tables and split stages need what is not modelled; there EATS counts
 * as 0, as the architecture has it for an SMMU without them.
 *
 * Source: SMMUv3 §3.9, §13.6.
 */
export function effectiveEats(entry: StreamEntry, id: Identification): number {
  return id.ats && (entry.config & 3) !== 0 && entry.eats === EATS.full ? EATS.full : EATS.off;
}
