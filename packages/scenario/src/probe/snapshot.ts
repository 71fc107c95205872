import {
  type AtcEntry,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  pciAtsRequired,
  pciDev,
} from "@iommu-lab/pci";
import type { BeliefReport, EnableReport } from "../cell.ts";
import type { Stage } from "../stage.ts";

/** What can be read without disturbing anything. */
export interface Snapshot {
  /** The kernel's name of the function, empty while it does not know it. */
  readonly name: string;
  /** What the core believes the RID is attached to. */
  readonly domain: string;
  /** Who uses the group. */
  readonly owner: string;
  /** PASID → domain type. */
  readonly pasids: Readonly<Record<string, string>>;
  /** ATS Enable and STU in config space. */
  readonly ats: { readonly enabled: boolean; readonly stu: number };
  /** PRI Enable in config space. */
  readonly pri: EnableReport;
  /** PASID Enable in config space. */
  readonly pasid: EnableReport;
  /** What the ATC holds. */
  readonly atc: readonly AtcEntry[];
  /** What the driver believes. */
  readonly belief: BeliefReport;
  /** `pci_ats_required()`; false while the kernel does not know the function. */
  readonly atsRequired: boolean;
}

/** Reads config space as silicon holds it, the ATC, and what the core believes. */
export function snapshot(stage: Stage): Snapshot {
  const { config, atc } = stage.endpoint;
  const ats = config.findExtendedCapability(EXT_CAP_ID_ATS);
  const pri = config.findExtendedCapability(EXT_CAP_ID_PRI);
  const pasid = config.findExtendedCapability(EXT_CAP_ID_PASID);
  const atsControl = ats === 0 ? 0 : config.read16(ats + 6);
  return {
    name: stage.known ? stage.device.name : "",
    ...beliefs(stage),
    ats: { enabled: (atsControl & 0x8000) !== 0, stu: atsControl & 0x1f },
    pri: { enabled: pri !== 0 && (config.read16(pri + 4) & 1) !== 0 },
    pasid: { enabled: pasid !== 0 && (config.read16(pasid + 6) & 1) !== 0 },
    atc: atc.entries(),
    atsRequired: stage.known && pciAtsRequired(pciDev(stage.device)),
  };
}

function beliefs(stage: Stage): Pick<Snapshot, "domain" | "owner" | "pasids" | "belief"> {
  const group = stage.known ? stage.device.group : undefined;
  if (group === undefined) {
    return { domain: "none", owner: "none", pasids: {}, belief: { atsEnabled: false } };
  }
  const member = group.member(stage.device);
  const domain = member?.blocked === true ? group.blockingDomain : group.domain;
  const pasids: Record<string, string> = {};
  for (const [pasid, attached] of [...group.pasids].toSorted(([a], [b]) => a - b)) {
    pasids[String(pasid)] = attached.type;
  }
  return {
    domain: domain?.type ?? "none",
    owner: group.owner ?? (group.ownerCount > 0 ? "default" : "none"),
    pasids,
    belief: { atsEnabled: stage.device.iommu?.driver.believesAtsEnabled(stage.device) ?? false },
  };
}
