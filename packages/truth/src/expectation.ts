import type { AttachCommands } from "./commands.ts";
import { recordedCommands } from "./commands.ts";
import type { LifecycleEvent, LifecycleKind } from "./lifecycle.ts";
import { condense, observableKinds, recordedLifecycle } from "./lifecycle.ts";
import { maskTables } from "./mask.ts";
import type { PhaseOutput } from "./phase-output.ts";
import { parseOutput } from "./phase-output.ts";
import type { Phase, Recording } from "./recording.ts";
import type { RecordedState, TableWords } from "./state.ts";
import { standingTexts } from "./table-text.ts";

/** One device after a phase, as far as two machines can agree on it. */
export interface DeviceSnapshot {
  /** The driver's name; `none` when none is bound. */
  readonly driver: string;
  /** Addresses of all members of its group. */
  readonly group: ReadonlySet<string>;
  /** The group's type as sysfs prints it; `none` without a group. */
  readonly type: string;
  /** The group's reserved regions as sysfs prints them: first byte, last byte, kind. */
  readonly reserved: ReadonlySet<string>;
  /** Control registers; undefined where the capability is absent. */
  readonly ats: number | undefined;
  readonly pasid: number | undefined;
  readonly pri: number | undefined;
  readonly acs: number | undefined;
  /** What sysfs `reset_method` lists; `none` without the file. */
  readonly resetMethods: string;
  /** Masked words of the IOMMU's structures. */
  readonly tables: TableWords;
}

/** What a phase shows about one device, on a real kernel or on the model. */
export interface DeviceView {
  readonly device: string;
  /** `absent` when the device was not there, undefined when nothing was read after the phase. */
  readonly state: DeviceSnapshot | "absent" | undefined;
  /** Condensed, in order. */
  readonly events: readonly LifecycleEvent[];
  /** One entry per attach, in order. */
  readonly commands: readonly AttachCommands[];
}

/** What a recorded phase demands. */
export interface PhaseExpectation {
  readonly phase: Phase;
  readonly output: PhaseOutput;
  /** The kinds of events whose silence means something in this phase. */
  readonly observable: ReadonlySet<LifecycleKind>;
  /** The state before the phase; undefined for the first. */
  readonly before: RecordedState | undefined;
  /** One device's part. */
  device(address: string): DeviceView;
}

/** What each phase of a recording demands, in order. */
export function expectations(recording: Recording): readonly PhaseExpectation[] {
  let state: RecordedState | undefined;
  // What is known of each device's structures: from the last reading, and from the events since.
  const standing = new Map<string, Map<LifecycleKind, string>>();
  return recording.phases.map((phase) => {
    const before = state;
    state = phase.state ?? state;
    const commands = recordedCommands(recording, phase);
    const events = recordedLifecycle(phase);
    const condensed = new Map<string, LifecycleEvent[]>();
    for (const address of new Set(events.map((event) => event.device))) {
      const texts = standing.get(address) ?? new Map<LifecycleKind, string>();
      standing.set(address, texts);
      const own = events.filter((event) => event.device === address && happened(event, phase.state ?? before));
      condensed.set(address, condense(own, texts));
    }
    forgetAbsent(standing, phase.state);
    for (const [address, tables] of phase.state?.tables ?? []) {
      // A structure that the reading could not reach, such as a CD behind a bypassing STE, keeps its last known text.
      standing.set(address, new Map([...(standing.get(address) ?? []), ...standingTexts(tables)]));
    }
    return {
      phase,
      output: parseOutput(phase.output),
      observable: observableKinds(recording, phase),
      before,
      device: (address) => ({
        device: address,
        state: phase.state === undefined ? undefined : snapshot(phase.state, address),
        events: condensed.get(address) ?? [],
        commands: commands.filter((attach) => attach.device === address),
      }),
    };
  });
}

/** When a device leaves, nobody follows what becomes of its structures. */
function forgetAbsent(standing: Map<string, unknown>, state: RecordedState | undefined): void {
  for (const address of standing.keys()) {
    if (state !== undefined && !state.devices.has(address)) {
      standing.delete(address);
    }
  }
}

/** Whether a traced call did something: the kernel restores every capability, but those that are off it leaves alone. */
function happened(event: LifecycleEvent, state: RecordedState | undefined): boolean {
  const device = state?.devices.get(event.device);
  const capability = RESTORED.get(event.kind);
  if (capability === undefined) {
    return true;
  }
  return ((device?.[capability]?.control ?? 0) & (capability === "ats" ? 0x8000 : 1)) !== 0;
}

const RESTORED: ReadonlyMap<LifecycleKind, "ats" | "pasid" | "pri"> = new Map([
  ["ats-restore", "ats"],
  ["pasid-restore", "pasid"],
  ["pri-restore", "pri"],
]);

/** One device in a recorded state. */
export function snapshot(state: RecordedState, address: string): DeviceSnapshot | "absent" {
  const device = state.devices.get(address);
  if (device === undefined) {
    return "absent";
  }
  const group = device.group === undefined ? undefined : state.groups.get(device.group);
  return {
    driver: device.driver ?? "none",
    group: new Set(group?.devices),
    type: group?.type ?? "none",
    reserved: new Set(group?.reserved),
    ats: device.ats?.control,
    pasid: device.pasid?.control,
    pri: device.pri?.control,
    acs: device.acs?.control,
    resetMethods: device.resetMethods ?? "none",
    tables: maskTables(state.tables.get(address) ?? new Map()),
  };
}
