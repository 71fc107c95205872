import type { Basis } from "@iommu-lab/core";
import type { AtsEvent, AtsState, ExplainedAtsPolicy } from "@iommu-lab/pci";

function translated({ ridDomain }: AtsState): boolean {
  return ridDomain !== "none" && ridDomain !== "BLOCKED";
}

/** PASIDs were never seen on a recorded kernel. */
function basisOf(event: AtsEvent, { livePasids }: AtsState): Basis {
  return livePasids > 0 || event === "pasid-set" || event === "pasid-remove" ? "source" : "recorded";
}

/** What is the same whatever the policy; undefined while the RID is translated. */
function reasonWithoutTranslation(event: AtsEvent, state: AtsState): string | undefined {
  if (event === "release") {
    return "the device is released; BLOCKED, attached before, has cleared E and DTE.I: ATS off";
  }
  if (translated(state)) {
    return undefined;
  }
  return event === "rid-attach"
    ? `${state.ridDomain}: the DTE keeps V=1 alone, I=0 refuses Translated requests; E, PASID and PRI are cleared first: ATS off`
    : `${state.ridDomain}: the DTE has I=0 whatever becomes of a PASID: ATS stays off`;
}

/**
 * What Linux 7.2 ships for AMD-Vi: ATS is on with every RID domain but BLOCKED, IDENTITY included; PASIDs change nothing.
 *
 * Source: Linux 7.2 `attach_device()`, `detach_device()`.
 */
export const amdWithAnyTranslation: ExplainedAtsPolicy = {
  id: "amd-with-any-translation",
  source: "Linux 7.2 attach_device(), detach_device()",
  wants: (event, state) => event !== "release" && translated(state),
  basis: basisOf,
  reason: shippedReason,
};

function shippedReason(event: AtsEvent, state: AtsState): string {
  return (
    reasonWithoutTranslation(event, state) ??
    (event === "rid-attach"
      ? `${state.ridDomain}: DTE.I=1 allows ATS and the driver enables it with any translation: ATS on`
      : "a PASID changes its own GCR3 entry alone; neither E nor DTE.I is touched: ATS stays on")
  );
}

/**
 * A proposal: IDENTITY runs without ATS unless a PASID is attached; the first one turns it on, the last one off. A 1:1
 * translation gains nothing from ATS, which lets Translated requests in.
 *
 * Source: linux-iommu, proposals on ATS for IDENTITY domains.
 */
export const amdIdentityAtsOff: ExplainedAtsPolicy = {
  id: "amd-identity-ats-off",
  source: "linux-iommu mailing list: ATS off for IDENTITY without PASIDs",
  wants: (event, state) =>
    event !== "release" && translated(state) && (state.ridDomain !== "IDENTITY" || state.livePasids > 0),
  basis: () => "unconfirmed",
  reason: identityOffReason,
};

function identityOffReason(event: AtsEvent, state: AtsState): string {
  const { ridDomain, livePasids } = state;
  const reason = reasonWithoutTranslation(event, state);
  if (reason !== undefined) {
    return reason;
  }
  if (ridDomain !== "IDENTITY") {
    return `${ridDomain}: the RID has a page table: ATS on`;
  }
  return livePasids > 0
    ? `IDENTITY, and ${livePasids === 1 ? "a PASID is" : `${livePasids} PASIDs are`} attached: ATS on`
    : "IDENTITY, and no PASID is attached: ATS off";
}
