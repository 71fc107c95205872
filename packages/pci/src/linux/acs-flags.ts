/** Source Validation: a request with a requester ID from another bus is blocked. */
export const ACS_SV: number = 1;
/** Translation Blocking: requests with AT other than 00 are blocked. */
export const ACS_TB: number = 2;
/** P2P Request Redirect: requests to a peer go up to the root complex. */
export const ACS_RR: number = 4;
/** P2P Completion Redirect. */
export const ACS_CR: number = 8;
/** Upstream Forwarding: a request back down the port it came from goes up instead. */
export const ACS_UF: number = 0x10;
/** P2P Egress Control. */
export const ACS_EC: number = 0x20;
/** Direct Translated P2P. */
export const ACS_DT: number = 0x40;
/** What Linux asks of the path before functions get groups of their own (`REQ_ACS_FLAGS`). */
export const ACS_ISOLATION: number = ACS_SV | ACS_RR | ACS_CR | ACS_UF;

const names: readonly (readonly [number, string])[] = [
  [ACS_SV, "SrcValid"],
  [ACS_TB, "TransBlk"],
  [ACS_RR, "ReqRedir"],
  [ACS_CR, "CmpltRedir"],
  [ACS_UF, "UpstreamFwd"],
  [ACS_EC, "EgressCtrl"],
  [ACS_DT, "DirectTrans"],
];

/** The bits that are set, by `lspci`'s short names, in the order of the register. */
export function acsFlagNames(flags: number): readonly string[] {
  return names.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
}

/** The bits that `lspci`'s short names stand for. Names that it does not know count as nothing. */
export function acsFlagsOf(words: readonly string[]): number {
  return names.filter(([, name]) => words.includes(name)).reduce((flags, [bit]) => flags | bit, 0);
}
