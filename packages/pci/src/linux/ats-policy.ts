import { type Basis, type DomainType, InputError, type KernelProfile } from "@iommu-lab/core";

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

/** A policy that also tells the fact behind an answer. */
export interface ExplainedAtsPolicy extends AtsPolicy {
  /** The fact in plain words, with the answer: `… : ATS off`. */
  reason(event: AtsEvent, state: AtsState): string;
}

/** The fact behind an answer of any policy; of one that does not tell, its name and the state it answered for. */
export function atsReason(policy: AtsPolicy | ExplainedAtsPolicy, event: AtsEvent, state: AtsState): string {
  return "reason" in policy
    ? policy.reason(event, state)
    : `${policy.id} answers so for the RID on ${state.ridDomain} with ${state.livePasids} PASIDs`;
}

/**
 * The policy that a kernel profile puts in place of a driver's own.
 *
 * @param slot of the driver, such as `ats:intel-vtd`
 * @returns undefined when the slot is empty
 * @throws InputError when the slot holds something else than a policy
 */
export function atsPolicyInSlot(kernel: KernelProfile, slot: string): AtsPolicy | undefined {
  const chosen = kernel.slots[slot];
  if (chosen !== undefined && !isAtsPolicy(chosen)) {
    throw new InputError(`slot ${slot}: expected an ATS policy (an object with id, source, wants and basis)`);
  }
  return chosen;
}

function isAtsPolicy(value: unknown): value is AtsPolicy {
  return (
    typeof value === "object" &&
    value !== null &&
    "id" in value &&
    typeof value.id === "string" &&
    "source" in value &&
    typeof value.source === "string" &&
    "wants" in value &&
    typeof value.wants === "function" &&
    "basis" in value &&
    typeof value.basis === "function"
  );
}
