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
  if (!on) {
    return "nothing is translated: the SMMU refuses ATS where an STE bypasses or aborts";
  }
  if (state.ridDomain !== "IDENTITY" && state.ridDomain !== "BLOCKED") {
    return "requests without PASID are translated";
  }
  return state.livePasids > 0 ? "PASIDs are attached" : "the function cannot work without ATS";
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
