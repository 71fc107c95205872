/**
 * Which rules a function keeps. All true = honest. A hostile function is one with some of them false: nothing in the
 * protocol stops it from ignoring its own registers.
 */
export interface Obeys {
  /** ATS Enable, and the end of ATS after a UR: without them no Translation Request and no Translated request. */
  enable: boolean;
  /** Bus Master Enable: without it no memory request. */
  busMaster: boolean;
  /** PASID Enable, its Execute and Privileged bits, and the width of the PASID capability. */
  pasidEnable: boolean;
  /** PRI Enable and the allocation of outstanding page requests. */
  priEnable: boolean;
  /** U of a translation: only Untranslated requests may use the range. */
  untranslatedOnly: boolean;
  /** Invalidate Requests: the entries go. When false it keeps them and answers all the same. */
  invalidations: boolean;
  /** Invalidate Requests are answered. When false the IOMMU waits in vain. */
  completions: boolean;
  /** An Invalidate Completion leaves after the requests that used what it invalidates. When false it overtakes them. */
  ordering: boolean;
}

/** A function that keeps every rule. */
export function honest(): Obeys {
  return {
    enable: true,
    busMaster: true,
    pasidEnable: true,
    priEnable: true,
    untranslatedOnly: true,
    invalidations: true,
    completions: true,
    ordering: true,
  };
}
