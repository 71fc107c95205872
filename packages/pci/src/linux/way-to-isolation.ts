import type { MachineFunction } from "../topology/machine-function.ts";
import { type ExplainedGroups, type GroupingOptions, explainGroups } from "./explain-groups.ts";
import type { GroupReason } from "./group-reason.ts";
import type { AssumedAcs } from "./pci-platform.ts";

/** One function at which ACS would have to isolate. */
export interface IsolationStep {
  /** Where, `dddd:bb:dd.f`. */
  readonly hop: string;
  /** The ACS bits that are missing there, by `lspci`'s names. */
  readonly missing: readonly string[];
  /** The members of the function's group after this step and those before it. */
  readonly members: readonly string[];
}

/** What would have to change for a function to be alone in its group. */
export interface WayToIsolation {
  /** In the order in which the search meets them. */
  readonly steps: readonly IsolationStep[];
  /** Whether the function is then alone. */
  readonly isolated: boolean;
  /** The reason that no ACS setting can take away; undefined when it is alone. */
  readonly obstacle: GroupReason | undefined;
}

/** No real path has that many hops. */
const MAX_STEPS = 64;

/**
 * Finds where ACS would have to isolate for a function to be alone: the first place that lacks it is assumed to, the machine is
 * grouped anew, until the function is alone or only shared requester IDs are left.
 */
export function wayToIsolation(
  machine: readonly MachineFunction[],
  name: string,
  options: GroupingOptions = {},
): WayToIsolation {
  const assumed = new Map<string, AssumedAcs>(options.assumedAcs);
  const steps: IsolationStep[] = [];
  let current = explainGroups(machine, options);
  for (;;) {
    const members = membersWith(current, name);
    const reason = members.length <= 1 ? undefined : nextGap(current, name, assumed);
    if (members.length <= 1 || reason?.hop === undefined || steps.length >= MAX_STEPS) {
      const obstacle = members.length <= 1 ? undefined : sharedId(current, name);
      return { steps, isolated: members.length <= 1, obstacle };
    }
    assumed.set(reason.hop, "on");
    current = explainGroups(machine, { ...options, assumedAcs: assumed });
    steps.push({ hop: reason.hop, missing: reason.missing ?? [], members: membersWith(current, name) });
  }
}

function membersWith({ groups }: ExplainedGroups, name: string): readonly string[] {
  return groups.find(({ members }) => members.includes(name))?.members ?? [];
}

function reasonsAround({ groups }: ExplainedGroups, name: string): readonly GroupReason[] {
  const reasons = groups.find(({ members }) => members.includes(name))?.reasons ?? [];
  return [...reasons.filter(({ member }) => member === name), ...reasons.filter(({ member }) => member !== name)];
}

/** The first reason that ACS could take away: its own reasons first, then those of its companions. */
function nextGap(
  groups: ExplainedGroups,
  name: string,
  assumed: ReadonlyMap<string, AssumedAcs>,
): GroupReason | undefined {
  return reasonsAround(groups, name).find(
    ({ rule, hop, acsRule }) =>
      (rule === "path" || rule === "slot") &&
      hop !== undefined &&
      !assumed.has(hop) &&
      acsRule !== "conventional" &&
      acsRule !== "kind",
  );
}

function sharedId(groups: ExplainedGroups, name: string): GroupReason | undefined {
  return reasonsAround(groups, name).find(
    ({ rule, acsRule }) =>
      rule === "requester-id" || rule === "alias" || acsRule === "conventional" || acsRule === "kind",
  );
}
