import { InputError } from "@iommu-lab/core";
import { ConfigSpace } from "../config-space/config-space.ts";
import { CAP_ID_EXP, PCIE_TYPE } from "../config-space/standard-layouts.ts";
import type { Rid } from "../fabric/request.ts";
import { type MachineFunction, machineName, parseMachineAddress } from "./machine-function.ts";
import { virtualFunctionsOf } from "./virtual-functions.ts";

/** Something in a machine's data that does not fit together. */
export interface MachineWarning {
  /** The function it is about. */
  readonly bdf: string;
  /** What is wrong, and what is made of it. */
  readonly text: string;
}

/** A function in its place. */
export interface TreeFunction {
  /** PCI segment (domain). */
  readonly segment: number;
  /** Requester ID. */
  readonly rid: Rid;
  /** `dddd:bb:dd.f`. */
  readonly name: string;
  /** Its registers as the source has them. */
  readonly config: ConfigSpace;
  /** Firmware marks it as leading out of the box. */
  readonly externalFacing: boolean;
  /** What the source does not tell of it. */
  readonly unknown: readonly string[];
  /** Header Type bits 6:0. */
  readonly headerType: number;
  /** Device/Port Type; undefined for conventional PCI. */
  readonly pcieType: number | undefined;
  /** Bus right below a bridge; undefined when it leads nowhere. */
  readonly secondary: number | undefined;
  /** The bridge above it; undefined on a root bus. */
  readonly parent: TreeFunction | undefined;
  /** The PF of a VF. */
  readonly physfn: TreeFunction | undefined;
}

/** One segment of a machine. */
export interface SegmentTree {
  /** PCI segment (domain). */
  readonly segment: number;
  /** Functions by address, each bridge before what is below it, each PF before its VFs. */
  readonly functions: readonly TreeFunction[];
  /** Buses that no bridge leads to, in ascending order. */
  readonly rootBuses: readonly number[];
}

/** All segments of a machine, and what was odd. */
export interface MachineTree {
  /** In ascending order. */
  readonly segments: readonly SegmentTree[];
  /** In the order in which they were noticed. */
  readonly warnings: readonly MachineWarning[];
}

type Draft = { -readonly [Key in keyof TreeFunction]: TreeFunction[Key] } & { readonly bus: number };

/**
 * Puts the functions of a machine into their places: by bus numbers of bridges, and VFs by what their PF's registers say.
 * What does not fit is kept and named in the warnings; the bus of a function whose bridge is missing counts as a root bus.
 *
 * @throws InputError for an address that cannot be read, or that comes twice
 */
export function machineTree(functions: readonly MachineFunction[]): MachineTree {
  const segments = new Map<number, Map<Rid, Draft>>();
  for (const one of functions) {
    const draft = draftOf(one);
    const segment = segments.get(draft.segment) ?? new Map<Rid, Draft>();
    if (segment.has(draft.rid)) {
      throw new InputError(`two functions at ${draft.name}`);
    }
    segment.set(draft.rid, draft);
    segments.set(draft.segment, segment);
  }
  const warnings: MachineWarning[] = [];
  const trees = [...segments.entries()]
    .toSorted(([one], [other]) => one - other)
    .map(([segment, drafts]) => new SegmentBuilder(segment, drafts, warnings).build());
  return { segments: trees, warnings };
}

function draftOf(one: MachineFunction): Draft {
  const address = parseMachineAddress(one.bdf);
  const config = new ConfigSpace(one.bytes);
  const express = config.findCapability(CAP_ID_EXP);
  return {
    ...address,
    bus: address.rid >>> 8,
    name: machineName(address),
    config,
    externalFacing: one.externalFacing ?? false,
    unknown: one.unknown ?? [],
    headerType: config.read8(0x0e) & 0x7f,
    pcieType: express === 0 ? undefined : (config.read16(express + 2) >>> 4) & 0xf,
    secondary: undefined,
    parent: undefined,
    physfn: undefined,
  };
}

class SegmentBuilder {
  readonly #segment: number;
  readonly #drafts: ReadonlyMap<Rid, Draft>;
  readonly #warnings: MachineWarning[];
  readonly #byBus = new Map<number, Draft[]>();
  readonly #bridgeTo = new Map<number, Draft>();
  readonly #virtualFunctions = new Map<Draft, readonly Draft[]>();

  constructor(segment: number, drafts: ReadonlyMap<Rid, Draft>, warnings: MachineWarning[]) {
    this.#segment = segment;
    this.#drafts = drafts;
    this.#warnings = warnings;
    for (const draft of [...drafts.values()].toSorted((one, other) => one.rid - other.rid)) {
      const bus = this.#byBus.get(draft.bus) ?? [];
      bus.push(draft);
      this.#byBus.set(draft.bus, bus);
    }
  }

  build(): SegmentTree {
    for (const draft of this.#inOrder()) {
      this.#readBridge(draft);
    }
    for (const draft of this.#inOrder()) {
      this.#adoptVirtualFunctions(draft);
    }
    const rootBuses = [...this.#byBus.keys()].filter((bus) => this.#isRootBus(bus)).toSorted((a, b) => a - b);
    const functions: TreeFunction[] = [];
    for (const bus of rootBuses) {
      this.#checkRootBus(bus);
      this.#place(bus, undefined, functions);
    }
    const placed = new Set(functions);
    for (const draft of this.#inOrder().filter((one) => !placed.has(one))) {
      this.#warn(draft, "nothing leads to it: taken as on a root bus");
      functions.push(draft);
    }
    return { segment: this.#segment, functions, rootBuses };
  }

  #inOrder(): readonly Draft[] {
    return [...this.#byBus.values()].flat();
  }

  #warn(about: Draft, text: string): void {
    this.#warnings.push({ bdf: about.name, text });
  }

  #readBridge(draft: Draft): void {
    const { config, headerType, bus } = draft;
    if (headerType !== 1 && headerType !== 2) {
      return;
    }
    const [primary, secondary, subordinate] = [0x18, 0x19, 0x1a].map((at) => config.read8(at)) as [
      number,
      number,
      number,
    ];
    const range = `${hex(secondary)}-${hex(subordinate)}`;
    if (secondary === 0 && subordinate === 0) {
      this.#warn(draft, "its bus numbers are not set, so it leads nowhere");
      return;
    }
    if (secondary <= bus || subordinate < secondary) {
      this.#warn(draft, `it leads to buses ${range} but is on bus ${hex(bus)}: passed over`);
      return;
    }
    const other = this.#bridgeTo.get(secondary);
    if (other !== undefined) {
      this.#warn(draft, `it leads to bus ${hex(secondary)} as ${other.name} does, which is taken`);
      return;
    }
    if (primary !== bus) {
      this.#warn(draft, `its primary bus number is ${hex(primary)} but it is on bus ${hex(bus)}`);
    }
    const overlapping = [...this.#bridgeTo.values()].find(
      (sibling) =>
        sibling.bus === bus && sibling.config.read8(0x1a) >= secondary && (sibling.secondary ?? 0) <= subordinate,
    );
    if (overlapping !== undefined) {
      this.#warn(draft, `its buses ${range} overlap with those of ${overlapping.name}`);
    }
    draft.secondary = secondary;
    this.#bridgeTo.set(secondary, draft);
  }

  #adoptVirtualFunctions(physfn: Draft): void {
    if (physfn.physfn !== undefined) {
      return;
    }
    const missing: string[] = [];
    for (const rid of virtualFunctionsOf(physfn.config, physfn.rid)) {
      const virtual = this.#drafts.get(rid);
      if (virtual === undefined) {
        missing.push(machineName({ segment: this.#segment, rid }));
      } else if (virtual !== physfn && virtual.physfn === undefined) {
        virtual.physfn = physfn;
        this.#virtualFunctions.set(physfn, [...(this.#virtualFunctions.get(physfn) ?? []), virtual]);
      }
    }
    if (missing.length > 0) {
      const named = missing.length > 3 ? `${missing.slice(0, 3).join(", ")}, …` : missing.join(", ");
      this.#warn(physfn, `${missing.length} of its VFs are enabled but missing: ${named}`);
    }
  }

  /** A bus with VFs alone is one that no bridge leads to and that is still no root bus. */
  #isRootBus(bus: number): boolean {
    return !this.#bridgeTo.has(bus) && (this.#byBus.get(bus) ?? []).some(({ physfn }) => physfn === undefined);
  }

  #checkRootBus(bus: number): void {
    const here = (this.#byBus.get(bus) ?? []).filter(({ physfn }) => physfn === undefined);
    const [first] = here;
    const above = [...this.#bridgeTo.values()].findLast(
      ({ secondary, config }) => secondary !== undefined && secondary < bus && config.read8(0x1a) >= bus,
    );
    const behindLink = here.every(({ pcieType }) => pcieType !== undefined && LINK_TYPES.has(pcieType));
    if (first !== undefined && above !== undefined) {
      this.#warn(first, `no bridge leads to bus ${hex(bus)}, which ${above.name} has below it: taken as a root bus`);
    } else if (first !== undefined && bus !== 0 && behindLink) {
      this.#warn(first, `the port above bus ${hex(bus)} is missing: taken as a root bus, so nothing above it counts`);
    }
  }

  #place(bus: number, parent: Draft | undefined, into: TreeFunction[]): void {
    const here = this.#byBus.get(bus) ?? [];
    const own = here.filter(({ physfn }) => physfn === undefined);
    for (const draft of own) {
      draft.parent = parent;
      into.push(draft);
    }
    this.#checkFirstFunctions(own, parent);
    for (const draft of own.flatMap((physfn) => this.#virtualFunctions.get(physfn) ?? [])) {
      draft.parent = parent;
      into.push(draft);
    }
    for (const draft of own) {
      if (draft.secondary !== undefined) {
        this.#place(draft.secondary, draft, into);
      }
    }
  }

  /** The kernel finds no function of a slot without function 0. */
  #checkFirstFunctions(here: readonly Draft[], parent: Draft | undefined): void {
    for (const draft of here) {
      const first = draft.rid & 0xf8;
      const isAri = parent?.pcieType !== undefined && here.some(({ rid }) => (rid & 0xff) === 0);
      if (!here.some(({ rid }) => (rid & 0xff) === first) && !isAri) {
        this.#warn(draft, "function 0 of its slot is missing, without which a kernel finds nothing there");
      }
    }
  }
}

const LINK_TYPES: ReadonlySet<number> = new Set<number>([
  PCIE_TYPE.endpoint,
  PCIE_TYPE.legacyEndpoint,
  PCIE_TYPE.upstreamPort,
  PCIE_TYPE.downstreamPort,
]);

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}
