import type { AttachCommands } from "./commands.ts";
import { sameOpcodes } from "./commands.ts";
import type { DeviceSnapshot, DeviceView } from "./expectation.ts";
import type { LifecycleKind } from "./lifecycle.ts";
import { formatWord } from "./mask.ts";

/** One thing on which the model and the recorded kernel do not agree. */
export interface Difference {
  /** Address of the device. */
  readonly device: string;
  /** What differs: `driver`, `group`, `type`, `reserved`, `ats`, `pasid`, `pri`, `acs`, `reset methods`, `events`, `result`, or `table ste[1]`. */
  readonly aspect: string;
  /** What the kernel did. */
  readonly recorded: string;
  /** What the model did. */
  readonly model: string;
}

/** What limits a comparison. */
export interface Scope {
  /** Kinds of events whose silence means something. */
  readonly observable: ReadonlySet<LifecycleKind>;
  /** Addresses of the devices that the model has; recorded groups are cut to them. */
  readonly modelled: ReadonlySet<string>;
}

/** Compares one device's part of a phase. State is left out when the recording read none. */
export function compareViews(recorded: DeviceView, model: DeviceView, scope: Scope): Difference[] {
  const { device } = recorded;
  const differences: Difference[] = [];
  const check = (aspect: string, left: string, right: string): void => {
    if (left !== right) {
      differences.push({ device, aspect, recorded: left, model: right });
    }
  };
  if (recorded.state !== undefined) {
    compareStates(recorded.state, model.state ?? "absent", scope, check);
  }
  check("events", sequence(recorded, scope), sequence(model, scope));
  return differences;
}

type Check = (aspect: string, recorded: string, model: string) => void;

function compareStates(
  recorded: DeviceSnapshot | "absent",
  model: DeviceSnapshot | "absent",
  scope: Scope,
  check: Check,
): void {
  if (recorded === "absent" || model === "absent") {
    check("presence", recorded === "absent" ? recorded : "present", model === "absent" ? model : "present");
    return;
  }
  check("driver", recorded.driver, model.driver);
  check("group", members(recorded.group, scope), members(model.group, scope));
  check("type", recorded.type, model.type);
  check("reserved", [...recorded.reserved].toSorted().join(", "), [...model.reserved].toSorted().join(", "));
  check("ats", control(recorded.ats), control(model.ats));
  check("pasid", control(recorded.pasid), control(model.pasid));
  check("pri", control(recorded.pri), control(model.pri));
  check("acs", control(recorded.acs), control(model.acs));
  check("reset methods", recorded.resetMethods, model.resetMethods);
  for (const structure of new Set([...recorded.tables.keys(), ...model.tables.keys()])) {
    const left = recorded.tables.get(structure);
    const right = model.tables.get(structure);
    if (left === undefined || right === undefined) {
      check(
        `table ${structure}`,
        left === undefined ? "absent" : "present",
        right === undefined ? "absent" : "present",
      );
      continue;
    }
    for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
      check(`table ${structure}[${index}]`, formatWord(left[index] ?? 0n), formatWord(right[index] ?? 0n));
    }
  }
}

function members(group: ReadonlySet<string>, scope: Scope): string {
  return [...group]
    .filter((address) => scope.modelled.has(address))
    .toSorted()
    .join(" ");
}

function control(value: number | undefined): string {
  return value === undefined ? "absent" : `0x${value.toString(16).padStart(4, "0")}`;
}

function sequence(view: DeviceView, scope: Scope): string {
  return view.events
    .filter((event) => scope.observable.has(event.kind))
    .map((event) => event.text)
    .join(" | ");
}

/** How the commands of a phase's attaches compare. `none`: the phase had no attach. */
export type CommandVerdict = "agree" | "differ" | "none";

/** Compares what was sent during each attach of a device, opcode by opcode. */
export function compareCommands(
  recorded: readonly AttachCommands[],
  model: readonly AttachCommands[],
): { readonly verdict: CommandVerdict; readonly differences: readonly Difference[] } {
  const differences: Difference[] = [];
  for (let index = 0; index < Math.max(recorded.length, model.length); index += 1) {
    const left = recorded[index];
    const right = model[index];
    if (left === undefined || right === undefined || !sameOpcodes(left.opcodes, right.opcodes)) {
      differences.push({
        device: (left ?? right)?.device ?? "",
        aspect: `commands of attach ${index + 1}`,
        recorded: left === undefined ? "no attach" : left.opcodes.join(" "),
        model: right === undefined ? "no attach" : right.opcodes.join(" "),
      });
    }
  }
  if (recorded.length === 0 && model.length === 0) {
    return { verdict: "none", differences };
  }
  return { verdict: differences.length === 0 ? "agree" : "differ", differences };
}
