import type { DomainType, KernelError } from "@iommu-lab/core";
import type { AtsEvent } from "@iommu-lab/pci";
import { atsReason, pciAtsRequired } from "@iommu-lab/pci";
import type { DeviceData } from "./device-data.ts";
import type { Decision, DriverState } from "./state.ts";

type Obstacle = Omit<Decision, "input" | "answer">;

const EXT_CAP_ATS = 0x0f;
const PROBE_SOURCE = "Linux 7.2 iommu_init_device()";

/**
 * Asks the policy whether ATS is wanted after an event, and tells the trace the answer and the fact behind it.
 *
 * @param device bound to what it leaves (BLOCKED) or comes to (all else)
 * @returns whether ATS is wanted and nothing stands against it
 */
export function decideAts(
  state: DriverState,
  device: DeviceData,
  event: AtsEvent,
  ridDomain: DomainType,
  livePasids: number,
): boolean {
  const { policy } = state;
  const dev = device.function;
  const after = { ridDomain, livePasids, required: pciAtsRequired(dev) };
  const wanted = event !== "release" && policy.wants(event, after);
  const obstacle = obstacleTo(state, device, ridDomain, wanted);
  const on = wanted && obstacle === undefined;
  const basis = policy.basis(event, after);
  state.decide(dev.name, {
    rule: policy.id,
    input: `${event}: RID on ${ridDomain}, ${livePasids} PASIDs`,
    answer: on ? "ATS on" : "ATS off",
    reason: atsReason(policy, event, after),
    source: policy.source,
    // Guest tables were never seen on a recorded kernel.
    basis: basis === "recorded" && device.domain?.mode === "v2" ? "source" : basis,
    ...obstacle,
  });
  return on;
}

/** What keeps ATS off whatever a policy wants. */
function obstacleTo(
  state: DriverState,
  device: DeviceData,
  ridDomain: DomainType,
  wanted: boolean,
): Obstacle | undefined {
  if (!device.atsSupported) {
    return { rule: "amd-ats-recorded", ...whyNotRecorded(state, device) };
  }
  if (!state.iotlbSup) {
    return {
      rule: "amd-iotlb-sup",
      reason: "IotlbSup=0 in the capability header of a unit: ATS off for every device",
      source: "Linux 7.2 pdev_enable_cap_ats()",
      basis: "source",
    };
  }
  if (device.atsWanted && !device.atsEnabled) {
    return {
      rule: "amd-enable-failed",
      reason: "pci_enable_ats() failed before and is not called again: ATS off",
      source: "Linux 7.2 pdev_enable_cap_ats()",
      basis: "source",
    };
  }
  if (wanted && ridDomain === "BLOCKED") {
    return {
      rule: "amd-blocked-dte",
      reason: "BLOCKED: the DTE keeps V=1 alone, so I=0 whatever a policy wants: ATS off",
      source: "Linux 7.2 clear_dte_entry()",
      basis: "source",
    };
  }
  return undefined;
}

/** The order is the kernel's: without the gate the function is not asked. */
function whyNotRecorded(state: DriverState, device: DeviceData): Omit<Obstacle, "rule"> {
  const dev = device.function;
  if (dev.config.findExtendedCapability(EXT_CAP_ATS) === 0) {
    return { reason: "the function has no ATS capability: ATS off", source: PROBE_SOURCE, basis: "source" };
  }
  if (!state.gtPprSupported) {
    const reason = `a unit lacks ${state.missingFeatures.join(", ")}: the ATS capability is not recorded, ATS off`;
    return { reason, source: `${PROBE_SOURCE}, amd_iommu_gt_ppr_supported()`, basis: "recorded" };
  }
  if (!state.capabilitiesPermitted) {
    const reason = "amd_iommu=force_isolation without pass-through: the ATS capability is not recorded, ATS off";
    return { reason, source: PROBE_SOURCE, basis: "source" };
  }
  const reason = dev.noAts
    ? "pci=noats: the kernel does not use the ATS capability, ATS off"
    : "untrusted: the function is below an external-facing port, ATS off";
  return { reason, source: "Linux 7.2 pci_ats_supported()", basis: "source" };
}

/** A function whose Enable bit stays 0 stays attached without it; the kernel says nothing. */
export function explainFailure(
  state: DriverState,
  device: DeviceData,
  capability: "ATS" | "PASID" | "PRI",
  error: KernelError | undefined,
): void {
  if (error !== undefined) {
    state.decide(device.function.name, {
      rule: "amd-enable-failed",
      input: `pci_enable_${capability.toLowerCase()}() = -${error.errno}`,
      answer: `${capability} stays off`,
      reason: error.message,
      source: "Linux 7.2 pdev_enable_caps()",
      basis: "source",
    });
  }
}
