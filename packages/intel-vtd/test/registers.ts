/** Offsets and bits as the tests read them in the specification: a second reading beside the source's own. */
export const GCMD = 0x18;
export const GSTS = 0x1c;
export const RTADDR = 0x20;
export const FSTS = 0x34;
export const IQH = 0x80;
export const IQT = 0x88;
export const IQA = 0x90;

export const GLOBAL_TE: number = 2 ** 31;
export const GLOBAL_SRTP: number = 2 ** 30;
export const GLOBAL_QIE: number = 2 ** 26;
/** Status bits that a new command repeats. */
export const GLOBAL_KEEP = 0x96ffffff;

export const FSTS_IQE = 0x10;
export const FSTS_ICE = 0x20;
export const FSTS_ITE = 0x40;

export const TTM_LEGACY = 0;
export const TTM_SCALABLE = 1;
export const TTM_ABORT = 3;

const names: Readonly<Record<number, string>> = {
  [GCMD]: "GCMD",
  [RTADDR]: "RTADDR",
  0x38: "FECTL",
  0x3c: "FEDATA",
  0x40: "FEADDR",
  0x44: "FEUADDR",
  [IQT]: "IQT",
  [IQA]: "IQA",
  0xc0: "PQH",
  0xc8: "PQT",
  0xd0: "PQA",
  0xe0: "PECTL",
  0xe4: "PEDATA",
  0xe8: "PEADDR",
  0xec: "PEUADDR",
};

/** Name of a register, or its offset. */
export function registerName(offset: number): string {
  return names[offset] ?? `0x${offset.toString(16)}`;
}
