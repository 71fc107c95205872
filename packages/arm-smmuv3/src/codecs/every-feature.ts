import { decodeIdRegisters, encodeIdr0, encodeIdr1, encodeIdr3, encodeIdr5 } from "../layout/id-registers.ts";
import type { Identification } from "../layout/id-registers.ts";

/**
 * An SMMU with every feature that the model has: what it refuses is wrong everywhere. Stalling is a choice, as is
 * endianness; EL2 and PASIDs exist.
 */
export const everyFeature: Identification = decodeIdRegisters({
  idr0: encodeIdr0({
    s2p: 1,
    s1p: 1,
    ttf: 2,
    cohacc: 1,
    btm: 1,
    httu: 3,
    hyp: 1,
    ats: 1,
    asid16: 1,
    msi: 1,
    sev: 1,
    pri: 1,
    vmid16: 1,
    cd2l: 1,
    atsRecErr: 1,
    stLevel: 1,
  }),
  idr1: encodeIdr1({ sidSize: 32, ssidSize: 20, cmdQs: 19, eventQs: 19, priQs: 19, attrTypesOvr: 1, attrPermsOvr: 1 }),
  idr3: encodeIdr3({ had: 1, xnx: 1, fwb: 1, stt: 1, ril: 1, e0pd: 1 }),
  idr5: encodeIdr5({ oas: 6, gran4K: 1, gran16K: 1, gran64K: 1, ds: 1, vax: 1 }),
});
