import type { Op } from "@iommu-lab/core";
import type { MachineFunction } from "../topology/machine-function.ts";
import { machineName } from "../topology/machine-function.ts";
import { type MachineTree, type MachineWarning, machineTree } from "../topology/machine-tree.ts";
import { pciEnableAcs } from "./acs-enable.ts";
import { isPchPort } from "./acs-quirks.ts";
import { pciForEachDmaAlias } from "./dma-alias.ts";
import { type GroupDecision, findPciGroup } from "./group.ts";
import { type GroupReason, reasonOf } from "./group-reason.ts";
import { machineFacts } from "./machine-facts.ts";
import { MachineScan } from "./machine-scan.ts";
import type { PciDev } from "./pci-dev.ts";
import type { AssumedAcs, PciFacts } from "./pci-platform.ts";
import { pciProfile } from "./pci-profile.ts";

/** Options of {@link explainGroups}. */
export interface GroupingOptions {
  /** The kernel: `6.1`, `6.12`, `7.2`. Default 7.2. */
  readonly kernel?: string;
  /** The value of `pci=` on its command line, such as `noats` or `disable_acs_redir=00:1c.0`. */
  readonly parameter?: string;
  /** What firmware and registers outside config space tell. Default: {@link machineFacts}. */
  readonly facts?: PciFacts;
  /**
   * When the kernel learns that there is an IOMMU and asks for ACS: from ACPI tables before the scan, from a device tree when
   * the first driver binds, which in 6.1 and 6.12 is too late for ports that are there at boot; `never` = without an IOMMU.
   * Default `acpi`.
   */
  readonly firmware?: "acpi" | "device-tree" | "never";
  /** Functions, by name, that no IOMMU serves: they get no group. */
  readonly withoutIommu?: (name: string) => boolean;
  /**
   * The driver refuses a function of which another one holds a requester ID already, as that of the SMMUv3 does
   * (`arm_smmu_insert_master()`): it then has no group. Default false.
   */
  readonly exclusiveRequesterIds?: boolean;
  /**
   * Functions, by name, that were added after boot (hot-plug, sysfs `rescan`), in that order: each is grouped before the kernel
   * takes it for one of several in its slot, unless its own header says so.
   */
  readonly hotAdded?: readonly string[];
  /** What-if: functions, by name, of which is assumed that ACS isolates them or not. */
  readonly assumedAcs?: ReadonlyMap<string, AssumedAcs>;
  /** What-if: false = the kernel knows no quirk that tells which functions are isolated. Default true. */
  readonly acsQuirks?: boolean;
}

/** A group with the reasons for each of its members. */
export interface ExplainedGroup {
  /** Members in the order in which they joined, `dddd:bb:dd.f`. */
  readonly members: readonly string[];
  /** Reasons of all members, in that order; a member's last reason is what settled it. */
  readonly reasons: readonly GroupReason[];
}

/** A function that is in no group. */
export interface GrouplessFunction {
  /** Its address. */
  readonly function: string;
  /** Why. */
  readonly reason: string;
}

/** What {@link explainGroups} finds. */
export interface ExplainedGroups {
  /** Such as `linux-7.2`. */
  readonly kernel: string;
  /** In the order in which they were made. */
  readonly groups: readonly ExplainedGroup[];
  /** Functions without a group, and why. */
  readonly withoutGroup: readonly GrouplessFunction[];
  /** What in the data does not fit together, or is unknown. */
  readonly warnings: readonly MachineWarning[];
}

const IOMMU_CLASS = 0x0806;
const HEADER_TYPE = 0x0e;
const MULTI_FUNCTION = 0x80;

interface Draft {
  readonly members: string[];
  readonly reasons: GroupReason[];
}

/**
 * The IOMMU groups that a kernel makes of a machine, with a reason for each member. The kernel scans the functions, enables
 * ACS as that version does, and each function goes through the same search that an IOMMU driver's `device_group` uses.
 *
 * @param machine functions as they were read in, or a tree of them. Their registers change as the kernel writes them.
 * @throws InputError for addresses that cannot be read or come twice, and for an unknown kernel
 * @example
 * ```ts
 * const { groups } = explainGroups(parseLspciDump(text).functions, { kernel: "6.12" });
 * ```
 */
export function explainGroups(
  machine: readonly MachineFunction[] | MachineTree,
  options: GroupingOptions = {},
): ExplainedGroups {
  const tree = "segments" in machine ? machine : machineTree(machine);
  return finish(new Grouping(tree, options).run());
}

/** Runs an operation that waits for nothing. */
function finish<T>(op: Op<T>): T {
  for (;;) {
    const next = op.next();
    if (next.done === true) {
      return next.value;
    }
  }
}

class Grouping {
  readonly #tree: MachineTree;
  readonly #options: GroupingOptions;
  readonly #kernel: string;
  readonly #groups: Draft[] = [];
  readonly #groupOf = new Map<PciDev, Draft>();
  readonly #holders = new Map<string, PciDev>();
  readonly #withoutGroup: GrouplessFunction[] = [];
  #requested: boolean;

  constructor(tree: MachineTree, options: GroupingOptions) {
    this.#tree = tree;
    this.#options = options;
    this.#kernel = pciProfile(options.kernel ?? "7.2").id;
    this.#requested = (options.firmware ?? "acpi") === "acpi";
  }

  *run(): Op<ExplainedGroups> {
    const profile = pciProfile(this.#kernel);
    const { facts, parameter, assumedAcs, acsQuirks, firmware } = this.#options;
    const scan = new MachineScan(this.#tree, {
      profile,
      acsRequested: () => this.#requested,
      facts: { ...machineFacts(this.#tree), ...facts },
      ...(parameter === undefined ? {} : { parameter }),
      ...(assumedAcs === undefined ? {} : { assumedAcs }),
      ...(acsQuirks === undefined ? {} : { acsQuirks }),
    });
    const { devices, warnings } = yield* scan.run();
    this.#requested = firmware !== "never";
    const hotAdded = (this.#options.hotAdded ?? []).flatMap((name) => devices.find((dev) => dev.name === name) ?? []);
    const known = devices.filter((dev) => !hotAdded.includes(dev));
    for (const dev of known) {
      yield* this.#probe(dev, known, profile.acsEnabledAt === "dma-configure");
    }
    for (const dev of hotAdded) {
      const { multifunction } = dev;
      dev.multifunction = dev.physfn === undefined && (dev.read8(HEADER_TYPE) & MULTI_FUNCTION) !== 0;
      known.push(dev);
      yield* this.#probe(dev, known, true);
      dev.multifunction = multifunction;
    }
    return {
      kernel: this.#kernel,
      groups: this.#groups,
      withoutGroup: this.#withoutGroup,
      warnings: [...this.#tree.warnings, ...warnings, ...this.#unknowns(devices)],
    };
  }

  /** What happens to a function when an IOMMU is there: ACS, the driver's probe, the group. */
  *#probe(dev: PciDev, known: readonly PciDev[], enablesAcs: boolean): Op<void> {
    if (enablesAcs) {
      yield* pciEnableAcs(dev);
    }
    const refused = this.#refusal(dev);
    if (refused === undefined) {
      this.#place(dev, known);
    } else {
      this.#withoutGroup.push({ function: dev.name, reason: refused });
    }
  }

  /** What the data do not tell although a rule of the kernel asks for it. */
  #unknowns(devices: readonly PciDev[]): readonly MachineWarning[] {
    const unknown = new Map(
      this.#tree.segments.flatMap(({ functions }) => functions.map((one) => [one.name, one.unknown] as const)),
    );
    return devices.flatMap((dev) => {
      const texts: string[] = [];
      const isJudged = dev.pcieCap !== 0 && (dev.multifunction || dev.headerType !== 0);
      if (isJudged && unknown.get(dev.name)?.some((what) => what === "vendor" || what === "device") === true) {
        texts.push("its ids are not known, so a quirk of the kernel for it may be missed");
      }
      if (isPchPort(dev) && !dev.acsByQuirk && this.#options.facts?.pchPeerDecodeOff === undefined) {
        texts.push("whether its PCH's peer decodes are off is not known: taken as not isolated");
      }
      return texts.map((text) => ({ bdf: dev.name, text }));
    });
  }

  /** Why the driver's `probe_device` refuses a function; undefined = it does not. */
  #refusal(dev: PciDev): string | undefined {
    if (dev.class >>> 8 === IOMMU_CLASS) {
      return "it is an IOMMU itself";
    }
    if (this.#options.withoutIommu?.(dev.name) === true) {
      return "no IOMMU serves it";
    }
    if (this.#options.exclusiveRequesterIds !== true) {
      return undefined;
    }
    const ids = pciForEachDmaAlias(dev).map(({ rid, dev: { segment } }) => machineName({ segment, rid }));
    const taken = ids.find((id) => this.#holders.has(id) && this.#holders.get(id) !== dev);
    if (taken !== undefined) {
      const holder = this.#holders.get(taken)?.name ?? "another function";
      return `its driver refuses it: requester ID ${taken} belongs to ${holder} already`;
    }
    for (const id of ids) {
      this.#holders.set(id, dev);
    }
    return undefined;
  }

  #place(dev: PciDev, devices: readonly PciDev[]): void {
    const decisions: GroupDecision[] = [];
    const found = findPciGroup(dev, {
      devices,
      groupOf: (one) => this.#groupOf.get(one),
      decided: (decision) => decisions.push(decision),
    });
    const group = found ?? { members: [], reasons: [] };
    if (found === undefined) {
      this.#groups.push(group);
    }
    this.#groupOf.set(dev, group);
    group.members.push(dev.name);
    group.reasons.push(...decisions.map((decision) => reasonOf(dev, decision, this.#kernel)));
  }
}
