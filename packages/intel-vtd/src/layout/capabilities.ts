import { bits64 } from "@iommu-lab/core";

/**
 * CAP (008h) and ECAP (010h), by the names of the specification. Bits that say nothing about DMA remapping are left out.
 *
 * Source: VT-d 5.10 §11.4.2, §11.4.3.
 */
export interface Capabilities {
  /** Domain IDs are `0 … 2^domainIdBits - 1` (from ND). */
  readonly domainIdBits: number;
  /** RWBF: software must flush write buffers. */
  readonly rwbf: boolean;
  /** PLMR: there is a protected region below 4 GiB. */
  readonly lowProtectedMemory: boolean;
  /** PHMR: there is a protected region anywhere. */
  readonly highProtectedMemory: boolean;
  /** CM: not-present entries may be cached, so new ones need an invalidation. */
  readonly cm: boolean;
  /** SAGAW: bit 1 = 39 bits, bit 2 = 48 bits, bit 3 = 57 bits. */
  readonly sagaw: number;
  /** MGAW: guest address width in bits. */
  readonly mgaw: number;
  /** FRO: byte offset of the first fault record. */
  readonly faultRecordOffset: number;
  /** SSLPS: bit 0 = 2 MiB, bit 1 = 1 GiB second-stage pages. */
  readonly sslps: number;
  /** PSI: page-selective IOTLB invalidation. */
  readonly psi: boolean;
  /** NFR: number of fault records. */
  readonly faultRecords: number;
  /** MAMV: largest address mask of an IOTLB invalidation. */
  readonly mamv: number;
  /** DWD. */
  readonly writeDrain: boolean;
  /** DRD. */
  readonly readDrain: boolean;
  /** FS1GP: 1 GiB first-stage pages. */
  readonly fs1gp: boolean;
  /** FS5LP: 5-level first-stage tables. */
  readonly fs5lp: boolean;
  /** ESRTPS: setting the root table pointer invalidates all DMA caches. */
  readonly esrtps: boolean;

  /** C: hardware snoops root, context and PASID structures. */
  readonly coherent: boolean;
  /** QI: there is an invalidation queue. */
  readonly qi: boolean;
  /** DT: device-TLBs, that is ATS, are supported. */
  readonly dt: boolean;
  /** PT: pass-through translation. */
  readonly pt: boolean;
  /** SC: snoop control. */
  readonly sc: boolean;
  /** IRO: byte offset of the IVA and IOTLB registers. */
  readonly iotlbOffset: number;
  /** MTS: memory types. */
  readonly mts: boolean;
  /** NEST: nested translation. */
  readonly nest: boolean;
  /** PRS: page requests. */
  readonly prs: boolean;
  /** SRS: privileged requests. */
  readonly srs: boolean;
  /** NWFS: the no-write flag of a Translation Request is honoured. */
  readonly nwfs: boolean;
  /** EAFS: extended accessed flag. */
  readonly eafs: boolean;
  /** PASID bits (from PSS). */
  readonly pasidBits: number;
  /** PASID: requests may carry one. */
  readonly pasid: boolean;
  /** DIT: invalidations to a device are throttled per physical function. */
  readonly dit: boolean;
  /** PDS: a wait descriptor can drain page requests. */
  readonly pds: boolean;
  /** SMTS: scalable mode. */
  readonly smts: boolean;
  /** SSADS: second-stage accessed and dirty bits. */
  readonly ssads: boolean;
  /** SSTS: second-stage translation in scalable mode. */
  readonly ssts: boolean;
  /** FSTS: first-stage translation in scalable mode. */
  readonly fsts: boolean;
  /** SMPWCS: page walks can be snooped in scalable mode. */
  readonly smpwcs: boolean;
  /** RPS: the RID_PASID field counts. */
  readonly rps: boolean;
  /** ADMS: abort-DMA mode. */
  readonly adms: boolean;
  /** RPRIVS: the RID_PRIV field counts. */
  readonly rprivs: boolean;
  /** SSIRWS: second-stage entries may have their rights in bits 61 and 62. */
  readonly ssirws: boolean;
  /** HPTS: host permission tables. */
  readonly hpts: boolean;
  /** PTRS: Translated requests may carry a PASID. */
  readonly ptrs: boolean;
}

/** Reads the two registers. */
export function decodeCapabilities(capLo: number, capHi: number, ecapLo: number, ecapHi: number): Capabilities {
  const cap = (high: number, low: number = high): number => bits64(capLo, capHi, high, low);
  const ecap = (high: number, low: number = high): number => bits64(ecapLo, ecapHi, high, low);
  return {
    domainIdBits: 4 + 2 * cap(2, 0),
    rwbf: cap(4) === 1,
    lowProtectedMemory: cap(5) === 1,
    highProtectedMemory: cap(6) === 1,
    cm: cap(7) === 1,
    sagaw: cap(12, 8),
    mgaw: cap(21, 16) + 1,
    faultRecordOffset: cap(33, 24) * 16,
    sslps: cap(37, 34),
    psi: cap(39) === 1,
    faultRecords: cap(47, 40) + 1,
    mamv: cap(53, 48),
    writeDrain: cap(54) === 1,
    readDrain: cap(55) === 1,
    fs1gp: cap(56) === 1,
    fs5lp: cap(60) === 1,
    esrtps: cap(63) === 1,
    coherent: ecap(0) === 1,
    qi: ecap(1) === 1,
    dt: ecap(2) === 1,
    pt: ecap(6) === 1,
    sc: ecap(7) === 1,
    iotlbOffset: ecap(17, 8) * 16,
    mts: ecap(25) === 1,
    nest: ecap(26) === 1,
    prs: ecap(29) === 1,
    srs: ecap(31) === 1,
    nwfs: ecap(33) === 1,
    eafs: ecap(34) === 1,
    pasidBits: ecap(39, 35) + 1,
    pasid: ecap(40) === 1,
    dit: ecap(41) === 1,
    pds: ecap(42) === 1,
    smts: ecap(43) === 1,
    ssads: ecap(45) === 1,
    ssts: ecap(46) === 1,
    fsts: ecap(47) === 1,
    smpwcs: ecap(48) === 1,
    rps: ecap(49) === 1,
    adms: ecap(52) === 1,
    rprivs: ecap(53) === 1,
    ssirws: ecap(57) === 1,
    hpts: ecap(55) === 1,
    ptrs: ecap(56) === 1,
  };
}

/** Input width in bits of an AW code (context and PASID entries): 1 → 39, 2 → 48, 3 → 57; 0 for a reserved code. */
export function inputWidth(addressWidth: number): number {
  return addressWidth >= 1 && addressWidth <= 3 ? 30 + 9 * addressWidth : 0;
}

/** Number of table levels of an AW code: 1 → 3, 2 → 4, 3 → 5. */
export function tableLevels(addressWidth: number): number {
  return addressWidth + 2;
}
