/** What a device gets when a request meets a fault; `S0` = a Success completion without permissions, which is no fault. */
export type FaultAnswer = "UR" | "CA" | "S0";

/** A fault reason of DMA remapping. Source: VT-d 5.10 §7.1.3, table 25 ff. */
export interface FaultReason {
  /** FR of the fault record. */
  readonly code: number;
  /** The specification's name of the condition, such as `SPT.2`. */
  readonly condition: string;
  /** In plain words. */
  readonly meaning: string;
  /** Not recorded where an FPD bit met on the way is 1. */
  readonly qualified: boolean;
  /** Answer to an Untranslated request. */
  readonly untranslated: FaultAnswer;
  /** Answer to a Translation Request. */
  readonly translationRequest: FaultAnswer;
  /** Answer to a Translated request. */
  readonly translated: FaultAnswer;
}

type Row = readonly [
  code: number,
  condition: string,
  qualified: boolean,
  meaning: string,
  untranslated: FaultAnswer,
  translationRequest: FaultAnswer,
  translated: FaultAnswer,
];

const rows: readonly Row[] = [
  [0x01, "LRT.2", false, "root entry not present", "UR", "UR", "UR"],
  [0x02, "LCT.2", true, "context entry not present", "UR", "UR", "UR"],
  [0x03, "LCT.4", true, "context entry programmed invalidly", "UR", "CA", "UR"],
  [0x04, "LGN.1", true, "address beyond the supported width", "UR", "S0", "UR"],
  [0x05, "LGN.2", true, "no write permission", "UR", "S0", "UR"],
  [0x06, "LGN.3", true, "no read permission", "UR", "S0", "UR"],
  [0x07, "LSS.1", true, "second-stage table cannot be read", "UR", "CA", "UR"],
  [0x08, "LRT.1", false, "root entry cannot be read", "UR", "CA", "UR"],
  [0x09, "LCT.1", false, "context entry cannot be read", "UR", "CA", "UR"],
  [0x0a, "LRT.3", false, "reserved field in the root entry", "UR", "CA", "UR"],
  [0x0b, "LCT.3", true, "reserved field in the context entry", "UR", "CA", "UR"],
  [0x0c, "LSS.2", true, "reserved field in a second-stage entry", "UR", "CA", "UR"],
  [0x0d, "LCT.5", true, "translation type blocks this kind of request", "UR", "UR", "UR"],
  [0x0e, "LGN.4", true, "output address in the interrupt range", "UR", "CA", "UR"],
  [0x20, "IR.1", false, "reserved field in the interrupt request", "UR", "UR", "UR"],
  [0x21, "IR.2", false, "interrupt index beyond the table", "UR", "UR", "UR"],
  [0x22, "IR.3", true, "interrupt entry not present", "UR", "UR", "UR"],
  [0x23, "IR.4", false, "interrupt entry cannot be read", "UR", "UR", "UR"],
  [0x24, "IR.5", true, "reserved field in the interrupt entry", "UR", "UR", "UR"],
  [0x25, "IR.6", false, "interrupt in compatibility format blocked", "UR", "UR", "UR"],
  [0x26, "IR.7", true, "interrupt from another requester than the entry names", "UR", "UR", "UR"],
  [0x27, "IR.8", true, "posted interrupt descriptor cannot be read", "UR", "UR", "UR"],
  [0x28, "IR.9", true, "reserved field in the posted interrupt descriptor", "UR", "UR", "UR"],
  [0x29, "IR", false, "request to the interrupt range that is no interrupt", "UR", "UR", "UR"],
  [0x2a, "IR", false, "extended interrupt mode off where it is required", "UR", "UR", "UR"],
  [0x2b, "IR", false, "interrupt while remapping is off but required", "UR", "UR", "UR"],
  [0x30, "RTA.1", false, "translation table mode programmed invalidly", "UR", "CA", "UR"],
  [0x31, "RTA.2", false, "request with a PASID in legacy mode", "UR", "UR", "UR"],
  [0x32, "RTA.3", false, "page request in legacy mode", "UR", "UR", "UR"],
  [0x33, "RTA.4", false, "abort-DMA mode", "UR", "UR", "UR"],
  [0x34, "RTA.5", false, "execute request", "UR", "UR", "UR"],
  [0x38, "SRT.1", false, "root entry cannot be read", "UR", "CA", "UR"],
  [0x39, "SRT.2", false, "root entry not present", "UR", "UR", "UR"],
  [0x3a, "SRT.3", false, "reserved field in the root entry", "UR", "CA", "UR"],
  [0x40, "SCT.1", false, "context entry cannot be read", "UR", "CA", "UR"],
  [0x41, "SCT.2", true, "context entry not present", "UR", "UR", "UR"],
  [0x42, "SCT.3", true, "reserved field in the context entry", "UR", "CA", "UR"],
  [0x43, "SCT.4", true, "context entry programmed invalidly", "UR", "CA", "UR"],
  [0x44, "SCT.5", true, "device-TLB not enabled (DTE=0)", "UR", "UR", "UR"],
  [0x45, "SCT.6", true, "PASID not enabled (PASIDE=0)", "UR", "UR", "UR"],
  [0x46, "SCT.7", true, "PASID beyond the directory", "UR", "UR", "UR"],
  [0x47, "SCT.8", true, "page requests not enabled (PRE=0)", "UR", "UR", "UR"],
  [0x48, "SCT.9", true, "PASID equals RID_PASID", "UR", "UR", "UR"],
  [0x49, "SCT.10", true, "Translated request with a PASID", "UR", "UR", "UR"],
  [0x50, "SPD.1", false, "PASID directory entry cannot be read", "UR", "CA", "CA"],
  [0x51, "SPD.2", true, "PASID directory entry not present", "UR", "S0", "UR"],
  [0x52, "SPD.3", true, "reserved field in the PASID directory entry", "UR", "CA", "CA"],
  [0x58, "SPT.1", false, "PASID entry cannot be read", "UR", "CA", "CA"],
  [0x59, "SPT.2", true, "PASID entry not present", "UR", "S0", "UR"],
  [0x5a, "SPT.3", true, "reserved field in the PASID entry", "UR", "CA", "CA"],
  [0x5b, "SPT.4", true, "PASID entry programmed invalidly", "UR", "CA", "CA"],
  [0x5c, "SPT.5", true, "execute request", "UR", "S0", "UR"],
  [0x5d, "SPT.6", true, "privileged request not enabled (SRE=0)", "UR", "S0", "UR"],
  [0x60, "SPT.9", true, "address beyond the host permission table", "UR", "UR", "UR"],
  [0x70, "SFS.1", true, "first-stage table cannot be read", "UR", "S0", "UR"],
  [0x71, "SFS.2", true, "first-stage entry not present", "UR", "S0", "UR"],
  [0x72, "SFS.3", true, "reserved field in a first-stage entry", "UR", "S0", "UR"],
  [0x73, "SFS.4", true, "top first-stage table cannot be read", "UR", "S0", "UR"],
  [0x74, "SFS.5", true, "guest address of the first stage beyond the supported width", "UR", "S0", "UR"],
  [0x75, "SFS.6", true, "no second-stage read permission for the top first-stage table", "UR", "S0", "UR"],
  [0x76, "SFS.7", true, "no second-stage read permission for a first-stage table", "UR", "S0", "UR"],
  [0x77, "SFS.8", true, "no second-stage write permission for accessed and dirty bits", "UR", "S0", "UR"],
  [0x78, "SSS.1", true, "second-stage table cannot be read", "UR", "CA", "UR"],
  [0x79, "SSS.2", true, "second-stage entry not present (R=W=0)", "UR", "S0", "UR"],
  [0x7a, "SSS.3", true, "reserved field in a second-stage entry", "UR", "CA", "UR"],
  [0x7b, "SSS.4", true, "top second-stage table cannot be read", "UR", "CA", "UR"],
  [0x7c, "SSS.5", true, "second-stage accessed or dirty bit must change, but walks are not snooped", "UR", "CA", "UR"],
  [0x7d, "SSS.6", true, "second-stage accessed or dirty bit cannot be changed", "UR", "CA", "UR"],
  [0x80, "SGN.1", true, "address not canonical", "UR", "S0", "UR"],
  [0x81, "SGN.2", true, "user request to a supervisor page", "UR", "S0", "UR"],
  [0x83, "SGN.4", true, "host address beyond the supported width", "UR", "S0", "UR"],
  [0x84, "SGN.5", true, "guest address beyond the supported width", "UR", "S0", "UR"],
  [0x85, "SGN.6", true, "no write permission", "UR", "S0", "UR"],
  [0x86, "SGN.7", true, "no read permission", "UR", "S0", "UR"],
  [0x87, "SGN.8", true, "output address in the interrupt range", "UR", "CA", "UR"],
  [0x89, "SGN.10", true, "PASID wider than the unit supports", "UR", "UR", "UR"],
  [0x90, "SFS.9", true, "first-stage accessed or dirty bit must change, but walks are not snooped", "UR", "S0", "UR"],
  [0x91, "SFS.10", true, "first-stage accessed or dirty bit cannot be changed", "UR", "S0", "UR"],
  [0xa0, "HPT.1", true, "host permission table cannot be read", "UR", "UR", "CA"],
  [0xa1, "HPT.2", true, "reserved field in the host permission table", "UR", "UR", "CA"],
  [0xa2, "HPT.3", true, "top host permission table cannot be read", "UR", "UR", "CA"],
  [0xa3, "HPT.4", true, "zero-length read without host permission", "UR", "UR", "UR"],
  [0xa4, "HPT.5", true, "no host permission to write", "UR", "UR", "UR"],
  [0xa5, "HPT.6", true, "no host permission to read", "UR", "UR", "UR"],
];

/** All fault reasons, by code. Those of interrupt remapping are here to be named; its tables are not modelled. */
export const FAULT_REASONS: ReadonlyMap<number, FaultReason> = new Map(
  rows.map(([code, condition, qualified, meaning, untranslated, translationRequest, translated]) => [
    code,
    { code, condition, meaning, qualified, untranslated, translationRequest, translated },
  ]),
);

/** The reason with this code. @throws Error for a code that the specification does not list */
export function faultReason(code: number): FaultReason {
  const reason = FAULT_REASONS.get(code);
  if (reason === undefined) {
    throw new Error(`0x${code.toString(16)} is no VT-d fault reason`);
  }
  return reason;
}
