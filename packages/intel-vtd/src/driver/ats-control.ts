import type { Basis, DomainType, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { AtsEvent, AtsPolicy, AtsState } from "@iommu-lab/pci";
import {
  atsReason,
  pciAtsPageAligned,
  pciAtsRequired,
  pciDisableAts,
  pciDisablePri,
  pciEnableAts,
  pciEnablePri,
  pciPrgResponsePasidRequired,
  pciResetPri,
} from "@iommu-lab/pci";
import { vtdLegacyWithPaging } from "../policy/ats-policies.ts";
import type { AtsSupport } from "./ats-firmware.ts";
import type { DeviceInfo } from "./device-info.ts";
import { flushDeviceTlbAlways } from "./invalidations.ts";
import { PagingDomain } from "./paging-domain.ts";
import type { VtdVersion } from "./version.ts";

const PAGE_SHIFT = 12;
/** `PRQ_DEPTH`. */
export const PAGE_REQUESTS = 2048;

/** One decision as it is told. */
interface Decision {
  readonly rule: string;
  readonly input: string;
  readonly answer: string;
  readonly reason: string;
  readonly source: string;
  readonly basis: Basis;
}

/** Tells the trace why the driver did what it did. */
export function decided(info: DeviceInfo, decision: Decision): void {
  const { trace } = info.unit.iommu;
  if (trace.active) {
    trace.emit("decision", { device: info.device.name, ...decision });
  }
}

/**
 * Switches ATS and PRI of devices in the driver's order, when the policy says so. Legacy mode can switch only where a
 * context entry is written; scalable mode at any event from `probe_finalize` on (7.2), or from the first attach on, where
 * an attach switches by itself (6.12).
 */
export class AtsControl {
  readonly #policy: AtsPolicy;
  readonly #version: VtdVersion;

  constructor(policy: AtsPolicy, version: VtdVersion) {
    this.#policy = policy;
    this.#version = version;
  }

  /**
   * Asks the policy before something is attached or removed; in scalable mode ATS goes off now when it is not wanted
   * afterwards.
   *
   * @param ridDomain what the RID will be attached to
   * @param livePasids PASIDs that will be attached
   * @returns whether ATS is wanted afterwards
   */
  *before(info: DeviceInfo, event: AtsEvent, ridDomain: DomainType | "none", livePasids: number): Op<boolean> {
    const { scalable } = info.unit.iommu;
    const eachAttach = this.#version.ats === "each-attach";
    if (scalable && !info.finalized && !eachAttach) {
      return false;
    }
    const wanted = this.#ask(info, event, { ridDomain, livePasids, required: pciAtsRequired(info.dev) });
    if (eachAttach && event === "rid-attach") {
      info.atsWanted &&= wanted;
      return wanted;
    }
    if (!wanted && scalable) {
      if (info.atsEnabled) {
        yield* this.#switchOff(info);
      }
      info.atsWanted = false;
    }
    return wanted;
  }

  /** After the entry is valid: in scalable mode ATS goes on when it is wanted and was not before. */
  *after(info: DeviceInfo, wanted: boolean): Op<void> {
    if (wanted && info.unit.iommu.scalable && !info.atsWanted) {
      info.atsWanted = true;
      yield* this.#switchOn(info);
    }
  }

  /** The device goes: PRI and ATS off, whatever the policy says. */
  *release(info: DeviceInfo): Op<void> {
    const { ridDomain, pasids, dev } = info;
    this.#ask(info, "release", { ridDomain, livePasids: pasids.size, required: pciAtsRequired(dev) });
    yield* this.disablePri(info);
    yield* this.disableDevice(info);
  }

  /** Whether ATS is on, or would be once the pending event is over. */
  available(info: DeviceInfo, wanted: boolean): boolean {
    return info.atsEnabled || (wanted && !info.atsWanted && info.atsSupported && pciAtsPageAligned(info.dev));
  }

  /**
   * Sets ATS Enable of a device that may have it and has Page Aligned Request. A failure leaves it off; the kernel says
   * nothing, the trace does.
   *
   * Source: Linux 7.2 `iommu_enable_pci_ats()`.
   */
  *enableDevice(info: DeviceInfo): Op<void> {
    if (!info.atsSupported || !pciAtsPageAligned(info.dev)) {
      return;
    }
    try {
      yield* pciEnableAts(info.dev, PAGE_SHIFT);
      info.atsEnabled = true;
    } catch (error) {
      if (!(error instanceof KernelError)) {
        throw error;
      }
      decided(info, {
        rule: "vtd-enable-failed",
        input: `pci_enable_ats() = -${error.errno}`,
        answer: "ATS stays off",
        reason: error.message,
        source: "Linux 7.2 iommu_enable_pci_ats()",
        basis: "source",
      });
    }
  }

  /** Clears ATS Enable where the driver has set it. Source: Linux 7.2 `iommu_disable_pci_ats()`. */
  *disableDevice(info: DeviceInfo): Op<void> {
    if (info.atsEnabled) {
      yield* pciDisableAts(info.dev);
      info.atsEnabled = false;
    }
  }

  /**
   * Sets PRI Enable where ATS is on and responses will reach the device: with PASIDs on it must take them with a PASID.
   *
   * Source: Linux 7.2 `iommu_enable_pci_pri()`.
   */
  *enablePri(info: DeviceInfo): Op<void> {
    if (info.atsEnabled) {
      yield* this.enablePriAlone(info);
    }
  }

  /** {@link AtsControl.enablePri}, whether ATS is on or not. Source: Linux 6.1 `iommu_enable_pci_caps()`. */
  *enablePriAlone(info: DeviceInfo): Op<void> {
    if (!info.priSupported || info.priEnabled) {
      return;
    }
    if (this.refusesPri(info)) {
      decided(info, {
        rule: "vtd-pri-response-pasid",
        input: "PASID on, PRG Response PASID Required=0",
        answer: "PRI stays off",
        reason: "PRG Response PASID Required=0 while PASID Enable is 1: PRI Enable is never set",
        source: "Linux 7.2 iommu_enable_pci_pri()",
        basis: "recorded",
      });
      return;
    }
    try {
      yield* pciResetPri(info.dev);
      yield* pciEnablePri(info.dev, PAGE_REQUESTS);
      info.priEnabled = true;
    } catch (error) {
      if (!(error instanceof KernelError)) {
        throw error;
      }
    }
  }

  /** Page responses would carry a PASID that the device does not take. */
  refusesPri(info: DeviceInfo): boolean {
    return info.pasidEnabled && !pciPrgResponsePasidRequired(info.dev);
  }

  /** Clears PRI Enable where the driver has set it. Source: Linux 7.2 `iommu_disable_pci_pri()`. */
  *disablePri(info: DeviceInfo): Op<void> {
    if (info.priEnabled) {
      yield* pciDisablePri(info.dev);
      info.priEnabled = false;
    }
  }

  /** Enable, then the device-TLB tags of all domains in use, then PRI: the order of `intel_iommu_probe_finalize()`. */
  *#switchOn(info: DeviceInfo): Op<void> {
    yield* this.enableDevice(info);
    if (info.atsEnabled) {
      for (const [pasid, domain] of tracked(info)) {
        yield* domain.tags.assignDeviceTlb(info, domain.domainId(info.unit), pasid);
      }
    }
    if (this.#version.pageRequests === "finalize") {
      yield* this.enablePri(info);
    }
  }

  /** PRI and Enable off, then the device-TLB is emptied: it answers with Enable off too. */
  *#switchOff(info: DeviceInfo): Op<void> {
    for (const [pasid, domain] of tracked(info)) {
      yield* domain.tags.unassignDeviceTlb(info, domain.domainId(info.unit), pasid);
    }
    yield* this.disablePri(info);
    yield* this.disableDevice(info);
    yield* flushDeviceTlbAlways(info, "policy-off:devtlb", 0);
  }

  #ask(info: DeviceInfo, event: AtsEvent, state: AtsState): boolean {
    const policy = this.#policy;
    const wanted = event !== "release" && policy.wants(event, state);
    if (info.atsSupport !== undefined) {
      const obstacle = obstacleTo(info, info.atsSupport, state, wanted);
      decided(info, {
        rule: policy.id,
        input: `${event}: RID on ${state.ridDomain}, ${state.livePasids} PASIDs`,
        answer: wanted && obstacle === undefined ? "ATS on" : "ATS off",
        reason: atsReason(policy, event, state),
        source: policy.source,
        basis: policy.basis(event, state),
        ...obstacle,
      });
    }
    return wanted;
  }
}

/** What keeps ATS off whatever a policy wants. */
function obstacleTo(
  info: DeviceInfo,
  { allowed, reason, source, basis }: AtsSupport,
  state: AtsState,
  wanted: boolean,
): Omit<Decision, "input" | "answer"> | undefined {
  if (!allowed) {
    return { rule: "vtd-ats-supported", reason: `${reason}: ATS off`, source, basis };
  }
  if (!pciAtsPageAligned(info.dev)) {
    return {
      rule: "vtd-page-aligned-request",
      reason: "the device has no Page Aligned Request (ATS capability, bit 5): ATS Enable is never set",
      source: "Linux 7.2 iommu_enable_pci_ats()",
      basis: "source",
    };
  }
  if (info.atsWanted && !info.atsEnabled) {
    return {
      rule: "vtd-enable-failed",
      reason: "pci_enable_ats() failed before and is not called again: ATS off",
      source: "Linux 7.2 iommu_enable_pci_ats()",
      basis: "source",
    };
  }
  if (wanted && !info.unit.iommu.scalable && !vtdLegacyWithPaging.wants("rid-attach", state)) {
    return {
      rule: "vtd-legacy-translation-type",
      reason: atsReason(vtdLegacyWithPaging, "rid-attach", state),
      source: "VT-d 5.10 §9.3",
      basis: "specified",
    };
  }
  return undefined;
}

/** The domains whose caches are tracked, with the PASIDs on which they are; 0 = the RID. */
function* tracked(info: DeviceInfo): Iterable<readonly [pasid: number, domain: PagingDomain]> {
  if (info.domain !== undefined) {
    yield [0, info.domain];
  }
  for (const [pasid, domain] of info.pasids) {
    if (domain instanceof PagingDomain) {
      yield [pasid, domain];
    }
  }
}
