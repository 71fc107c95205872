import type { Basis, DomainType } from "@iommu-lab/core";
import type { AtsEvent, AtsPolicy, AtsState } from "@iommu-lab/pci";
import { smmuv3OnDemand } from "../ats-policy.ts";
import type { Master } from "./master.ts";

/** One decision as the trace tells it. */
export interface Decision {
  readonly rule: string;
  readonly input: string;
  readonly answer: string;
  readonly reason: string;
  readonly source: string;
  readonly basis: Basis;
}

/** Tells the trace what was decided about a function. */
export function tellDecision(master: Master, decision: Decision): void {
  const { trace } = master.smmu.ports;
  if (trace.active) {
    trace.emit("decision", { device: master.device.name, ...decision });
  }
}

function reasonOf(policy: AtsPolicy, event: AtsEvent, state: AtsState, on: boolean): string {
  if (smmuv3OnDemand.wants(event, state) !== on) {
    return `the policy ${policy.id} says so; the shipped one does not`;
  }
  return on ? reasonOn(state) : reasonOff(event, state);
}

function reasonOn({ ridDomain, livePasids }: AtsState): string {
  if (ridDomain !== "IDENTITY" && ridDomain !== "BLOCKED") {
    return `${ridDomain}: requests without PASID are translated, the STE has EATS=1: ATS on`;
  }
  const s1dss = ridDomain === "IDENTITY" ? "S1DSS=BYPASS" : "S1DSS=TERMINATE";
  if (livePasids > 0) {
    return `${ridDomain} with PASIDs attached: the STE keeps the CD table (${s1dss}, EATS=1), so it permits the RID too: ATS on`;
  }
  return `${ridDomain}: the function cannot work without ATS, so the STE has a CD table (${s1dss}, EATS=1): ATS on`;
}

function reasonOff(event: AtsEvent, { ridDomain }: AtsState): string {
  const gone = event === "pasid-remove" ? "the last PASID is gone; " : "";
  return ridDomain === "BLOCKED"
    ? `${gone}BLOCKED: the STE aborts, which refuses Translation Requests and Translated requests: ATS off`
    : `${gone}${ridDomain}: nothing is translated, and a bypassing STE refuses ATS: ATS off`;
}

/** What the policy is asked about. */
export function atsStateOf(master: Master, ridDomain: DomainType | "none", livePasids: number): AtsState {
  return { ridDomain, livePasids, required: master.atsRequired };
}

/**
 * Whether ATS will be on: the policy's wish, if SMMU, firmware and function allow it.
 *
 * Source: Linux 7.2 `arm_smmu_attach_prepare()`.
 *
 * @param obstacle why it cannot be on in any case, in words; `""` = it can
 */
export function decideAts(
  master: Master,
  policy: AtsPolicy,
  event: AtsEvent,
  state: AtsState,
  obstacle: string = master.atsObstacle,
): boolean {
  const on = obstacle === "" && policy.wants(event, state);
  if (master.pci.atsCap !== 0) {
    const input = `${event}: RID on ${state.ridDomain}, ${state.livePasids} PASIDs${state.required ? ", ATS required" : ""}`;
    tellDecision(master, {
      rule: policy.id,
      input,
      answer: on ? "ATS on" : "ATS off",
      reason: obstacle === "" ? reasonOf(policy, event, state, on) : obstacle,
      source: policy.source,
      basis: obstacle === "" ? policy.basis(event, state) : "source",
    });
  }
  return on;
}
