import type { AtsEvent, AtsPolicy, AtsState } from "@iommu-lab/pci";

function translated(state: AtsState): boolean {
  return state.ridDomain !== "none" && state.ridDomain !== "BLOCKED";
}

/**
 * What Linux 7.2 ships for AMD-Vi: ATS is on with every RID domain but BLOCKED, IDENTITY included; PASIDs change nothing.
 *
 * Source: Linux 7.2 `attach_device()`, `detach_device()`.
 */
export const amdWithAnyTranslation: AtsPolicy = {
  id: "amd-with-any-translation",
  source: "Linux 7.2 attach_device(), detach_device()",
  wants: (event: AtsEvent, state: AtsState) => event !== "release" && translated(state),
  basis: (event: AtsEvent) => (event === "rid-attach" || event === "release" ? "recorded" : "source"),
};

/**
 * A proposal: IDENTITY runs without ATS unless a PASID is attached; the first one turns it on, the last one off. A 1:1
 * translation gains nothing from ATS, which lets Translated requests in.
 *
 * Source: linux-iommu, proposals on ATS for IDENTITY domains.
 */
export const amdIdentityAtsOff: AtsPolicy = {
  id: "amd-identity-ats-off",
  source: "linux-iommu mailing list: ATS off for IDENTITY without PASIDs",
  wants: (event: AtsEvent, state: AtsState) =>
    event !== "release" && translated(state) && (state.ridDomain !== "IDENTITY" || state.livePasids > 0),
  basis: () => "unconfirmed",
};
