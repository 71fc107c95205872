import { getField } from "@iommu-lab/core";
import { COMMAND, OPCODE, RANGE_ALL, SYNC_SIGNAL } from "../layout/command.ts";
import type { Identification } from "../layout/id-registers.ts";
import { STALL_MODEL } from "../layout/id-registers.ts";

/** A feature that an opcode needs. */
type Need = (id: Identification) => boolean;

const always: Need = () => true;
const stage1: Need = (id) => id.stage1;
const stage2: Need = (id) => id.stage2;
const hyp: Need = (id) => id.hyp && id.stage1;
const stalls: Need = (id) => id.stallModel !== STALL_MODEL.terminate;

/** Opcodes of the Non-secure queue and what they need. Source: SMMUv3 §4.1.3. */
const NEEDS: ReadonlyMap<number, Need> = new Map([
  [OPCODE.PREFETCH_CONFIG, always],
  [OPCODE.PREFETCH_ADDR, always],
  [OPCODE.CFGI_STE, always],
  [OPCODE.CFGI_STE_RANGE, always],
  [OPCODE.CFGI_CD, stage1],
  [OPCODE.CFGI_CD_ALL, stage1],
  [OPCODE.TLBI_NH_ALL, stage1],
  [OPCODE.TLBI_NH_ASID, stage1],
  [OPCODE.TLBI_NH_VA, stage1],
  [OPCODE.TLBI_NH_VAA, stage1],
  [OPCODE.TLBI_EL2_ALL, hyp],
  [OPCODE.TLBI_EL2_ASID, hyp],
  [OPCODE.TLBI_EL2_VA, hyp],
  [OPCODE.TLBI_EL2_VAA, hyp],
  [OPCODE.TLBI_S12_VMALL, stage2],
  [OPCODE.TLBI_S2_IPA, stage2],
  [OPCODE.TLBI_NSNH_ALL, always],
  [OPCODE.ATC_INV, (id) => id.ats],
  [OPCODE.PRI_RESP, (id) => id.pri],
  [OPCODE.RESUME, stalls],
  [OPCODE.STALL_TERM, stalls],
  [OPCODE.SYNC, always],
]);

const RANGED: ReadonlySet<number> = new Set([
  OPCODE.TLBI_NH_VA,
  OPCODE.TLBI_NH_VAA,
  OPCODE.TLBI_EL2_VA,
  OPCODE.TLBI_EL2_VAA,
  OPCODE.TLBI_S2_IPA,
]);

const ILLEGAL_SIGNAL = 3;
const ILLEGAL_RESPONSE = 3;

/** NUM, SCALE and TTL all zero with a granule: that range is reserved. */
function badRange(words: ArrayLike<number>, id: Identification): boolean {
  return (
    id.rangeInvalidation &&
    getField(words, COMMAND.tg) !== 0 &&
    getField(words, COMMAND.num) === 0 &&
    getField(words, COMMAND.scale) === 0 &&
    getField(words, COMMAND.ttl) === 0
  );
}

/** Whether a command is CERROR_ILL: an unknown opcode, a feature that is absent, a reserved value. Source: SMMUv3 §7.1. */
export function isIllegal(words: ArrayLike<number>, id: Identification): boolean {
  const opcode = getField(words, COMMAND.opcode);
  const need = NEEDS.get(opcode);
  if (need === undefined || !need(id) || getField(words, COMMAND.ssec) === 1) {
    return true;
  }
  if (RANGED.has(opcode)) {
    return badRange(words, id);
  }
  switch (opcode) {
    case OPCODE.SYNC:
      return getField(words, COMMAND.cs) === ILLEGAL_SIGNAL;
    case OPCODE.PRI_RESP:
      return getField(words, COMMAND.resp) === ILLEGAL_RESPONSE;
    default:
      return false;
  }
}

/** Whether a CFGI_STE_RANGE means all streams. */
export function coversAllStreams(words: ArrayLike<number>): boolean {
  return getField(words, COMMAND.range) === RANGE_ALL;
}

/** Whether a SYNC tells its completion by a message. */
export function signalsByMessage(words: ArrayLike<number>): boolean {
  return getField(words, COMMAND.cs) === SYNC_SIGNAL.irq;
}
