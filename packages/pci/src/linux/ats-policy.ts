import type { Basis, DomainType } from "@iommu-lab/core";

/** The moments at which a driver decides whether ATS should be on. */
export type AtsEvent = "probe-finalize" | "rid-attach" | "pasid-set" | "pasid-remove" | "release";

/** What the decision may depend on, as it will be after the event. */
export interface AtsState {
  /** What the RID is attached to; `none` before the first attach. */
  readonly ridDomain: DomainType | "none";
  /** PASIDs attached. */
  readonly livePasids: number;
  /** `pci_ats_required()`. */
  readonly required: boolean;
  /** A nested guest's wish; undefined when the RID is not nested. */
  readonly guestWantsAts?: boolean;
}

/**
 * When ATS is on, as a pure rule. Only the driver knows in which order Enable, permission and ATC change, so one policy
 * object works in any vendor's driver: "what if VT-d tracked PASIDs as SMMUv3 does?"
 */
export interface AtsPolicy {
  /** Named in columns and decisions, such as `smmuv3-on-demand`. */
  readonly id: string;
  /** The function or mail that states the rule. */
  readonly source: string;
  /** Whether ATS is wanted after the event; capability and firmware are asked by the driver. */
  wants(event: AtsEvent, state: AtsState): boolean;
  /** How sure this answer is. */
  basis(event: AtsEvent, state: AtsState): Basis;
}
