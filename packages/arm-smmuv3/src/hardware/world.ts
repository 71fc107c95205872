/** Translation regimes; TLB entries of one never serve another. Source: SMMUv3 §3.17. */
export const WORLD = {
  /** EL1 and EL0, tagged by VMID and ASID. */
  nsEl1: 0,
  /** EL2 alone: one privilege, no ASIDs. */
  el2: 1,
  /** EL2 and EL0, tagged by ASID. */
  el2E2h: 2,
  /** Stage 2: intermediate addresses, tagged by VMID. */
  stage2: 3,
} as const;
