import type { DeviceScope, DmarTable, Drhd, PathHop } from "./dmar.ts";
import { ALL_PORTS, ATC_REQUIRED, INCLUDE_PCI_ALL, SCOPE_TYPE } from "./dmar.ts";

/** A PCI function as device scopes know it. */
export interface ScopedDevice {
  /** PCI segment. */
  readonly segment: number;
  /** The function and all bridges above it, from the root bus down. */
  readonly path: readonly ({
    /** Bus number. */
    readonly bus: number;
  } & PathHop)[];
  /** Header type 1. */
  readonly isBridge: boolean;
  /** Class code: base class 23:16, subclass 15:8. */
  readonly class: number;
}

const BASE_CLASS_BRIDGE = 0x06;

/** Whether a scope names a function itself. */
export type ScopeMatch = "named" | "type mismatch" | undefined;

/**
 * Whether a device scope names this function: same start bus and the same hops. Firmware that gives the function's own bus
 * and one hop is understood as well.
 *
 * Source: Linux 7.2 `dmar_match_pci_path()`, `dmar_insert_dev_scope()`.
 *
 * @returns `type mismatch` for an endpoint scope on a bridge, or a bridge scope on an endpoint of another class
 */
export function matchScope(scope: DeviceScope, dev: ScopedDevice): ScopeMatch {
  if (scope.type !== SCOPE_TYPE.endpoint && scope.type !== SCOPE_TYPE.bridge) {
    return undefined;
  }
  if (!samePath(scope, dev) && !lastHop(scope, dev)) {
    return undefined;
  }
  const mismatch =
    scope.type === SCOPE_TYPE.endpoint ? dev.isBridge : !dev.isBridge && dev.class >>> 16 !== BASE_CLASS_BRIDGE;
  return mismatch ? "type mismatch" : "named";
}

function samePath(scope: DeviceScope, { path }: ScopedDevice): boolean {
  return (
    path[0]?.bus === scope.startBus &&
    path.length === scope.path.length &&
    scope.path.every((hop, index) => path[index]?.device === hop.device && path[index]?.function === hop.function)
  );
}

function lastHop(scope: DeviceScope, { path }: ScopedDevice): boolean {
  const last = path.at(-1);
  const [hop] = scope.path;
  return (
    scope.path.length === 1 &&
    last?.bus === scope.startBus &&
    last.device === hop?.device &&
    last.function === hop.function
  );
}

/** The function at depth `depth` of a path, as scopes know it. */
function ancestor(dev: ScopedDevice, depth: number): ScopedDevice {
  return depth === dev.path.length
    ? dev
    : { segment: dev.segment, path: dev.path.slice(0, depth), isBridge: true, class: BASE_CLASS_BRIDGE << 16 };
}

/** Whether one of the scopes names the function or a bridge above it. */
function serves(scopes: readonly DeviceScope[], dev: ScopedDevice): boolean {
  return scopes.some((scope) =>
    dev.path.some((_hop, index) => matchScope(scope, ancestor(dev, index + 1)) === "named"),
  );
}

/**
 * The unit that serves a function: in the kernel's order the first of its segment that names it or a bridge above it, or that
 * takes all. A VF is looked up by its PF.
 *
 * Source: Linux 7.2 `device_lookup_iommu()`.
 *
 * @returns undefined when no unit serves it
 */
export function unitOf(table: DmarTable, dev: ScopedDevice): Drhd | undefined {
  for (const structure of unitsInKernelOrder(table)) {
    if (structure.segment === dev.segment && (serves(structure.scopes, dev) || takesAll(structure))) {
      return structure;
    }
  }
  return undefined;
}

/**
 * The units as the kernel lists them: each new one goes to the front, those that take all to the end.
 *
 * Source: Linux 7.2 `dmar_register_drhd_unit()`.
 */
export function unitsInKernelOrder(table: DmarTable): readonly Drhd[] {
  const units = table.structures.filter((structure) => structure.kind === "drhd");
  return [...units.filter((unit) => !takesAll(unit)).toReversed(), ...units.filter((unit) => takesAll(unit))];
}

function takesAll({ flags }: Drhd): boolean {
  return (flags & INCLUDE_PCI_ALL) !== 0;
}

/** What the table says of ATS for a function: its SATC entry, or the root port above it. */
export interface AtsStatement {
  /** An SATC names it: it may use ATS; `required` = it needs its ATC. */
  readonly satc?: {
    /** ATC_REQUIRED. */
    readonly required: boolean;
  };
  /** An ATSR names its root port, or all ports. */
  readonly rootPort: boolean;
}

/**
 * What the table says of ATS for a function, or for the PF of a VF.
 *
 * Source: Linux 7.2 `dmar_find_matched_satc_unit()`, `dmar_ats_supported()`.
 *
 * @param rootPort the root port above it; absent for an integrated function
 */
export function atsStatement(table: DmarTable, dev: ScopedDevice, rootPort?: ScopedDevice): AtsStatement {
  const lists = table.structures.filter(
    (structure) => (structure.kind === "atsr" || structure.kind === "satc") && structure.segment === dev.segment,
  );
  for (const list of lists) {
    if (list.kind === "satc" && list.scopes.some((scope) => matchScope(scope, dev) === "named")) {
      return { satc: { required: (list.flags & ATC_REQUIRED) !== 0 }, rootPort: false };
    }
  }
  const listed = lists.some(
    (list) =>
      list.kind === "atsr" &&
      ((list.flags & ALL_PORTS) !== 0 ||
        (rootPort !== undefined && list.scopes.some((scope) => matchScope(scope, rootPort) === "named"))),
  );
  return { rootPort: listed };
}

/** A region of memory that a function must reach 1:1. */
export interface DmarRegion {
  /** First byte. */
  readonly base: number;
  /** Last byte. */
  readonly limit: number;
}

/** The RMRR regions of a function. Source: Linux 7.2 `intel_iommu_get_resv_regions()`. */
export function regionsOf(table: DmarTable, dev: ScopedDevice): readonly DmarRegion[] {
  return table.structures.flatMap((structure) =>
    structure.kind === "rmrr" && structure.segment === dev.segment && serves(structure.scopes, dev)
      ? [{ base: structure.base, limit: structure.limit }]
      : [],
  );
}
