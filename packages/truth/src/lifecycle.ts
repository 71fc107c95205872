import type { Phase, RecordedEvent, Recording } from "./recording.ts";
import type { TableKind } from "./table-text.ts";
import { tableText } from "./table-text.ts";

/** What kinds of events are compared, each in its order per device. */
export type LifecycleKind =
  | "attach"
  | "attached"
  | "release"
  | "ats-on"
  | "ats-off"
  | "pasid-on"
  | "pasid-off"
  | "pri-on"
  | "pri-off"
  | "ats-restore"
  | "pasid-restore"
  | "pri-restore"
  | "reset"
  | "bind"
  | "unbind"
  | "ste"
  | "cd0"
  | "context"
  | "pasid0"
  | "dte";

/** One event in the life of a device, with addresses, numbers and times left out. */
export interface LifecycleEvent {
  /** Address of the device. */
  readonly device: string;
  readonly kind: LifecycleKind;
  /** As it is compared and printed. */
  readonly text: string;
  /** Of a change of a structure: the text before it, where the trace tells. */
  readonly before?: string;
}

/** Which traced functions must have been observable for the silence of a kind to mean something. */
const SEEN_THROUGH: Readonly<Record<LifecycleKind, readonly string[]>> = {
  attach: ["__iommu_attach_device"],
  attached: ["__iommu_attach_device__ret"],
  release: ["iommu_deinit_device"],
  "ats-on": ["pci_enable_ats"],
  "ats-off": ["pci_disable_ats"],
  "pasid-on": ["pci_enable_pasid"],
  "pasid-off": ["pci_disable_pasid"],
  "pri-on": ["pci_enable_pri"],
  "pri-off": ["pci_disable_pri"],
  "ats-restore": ["pci_restore_ats_state"],
  "pasid-restore": ["pci_restore_pasid_state"],
  "pri-restore": ["pci_restore_pri_state"],
  reset: ["pci_dev_reset_iommu_prepare", "pci_dev_reset_iommu_done"],
  bind: ["iommu_device_use_default_domain__ret"],
  unbind: ["iommu_device_unuse_default_domain"],
  ste: ["arm_smmu_install_ste_for_dev"],
  cd0: ["arm_smmu_write_cd_entry"],
  context: ["domain_context_clear_one", "domain_context_mapping_one", "context_setup_pass_through"],
  pasid0: ["intel_pasid_tear_down_entry", "intel_pasid_setup_first_level", "intel_pasid_setup_pass_through"],
  dte: ["update_dte256"],
};

/** The kinds that a phase of a recording would have shown. */
export function observableKinds(recording: Recording, phase: Phase): ReadonlySet<LifecycleKind> {
  const probes = phase.index === 0 ? recording.bootProbes : recording.probes;
  const kinds = Object.keys(SEEN_THROUGH) as LifecycleKind[];
  return new Set(kinds.filter((kind) => SEEN_THROUGH[kind].every((name) => probes.has(name))));
}

const PREPARE = "reset prepare";
const DONE = "reset done";

/** Calls that stand for one event by themselves. */
const CALLS: ReadonlyMap<string, readonly [LifecycleKind, string]> = new Map([
  ["pci_enable_ats", ["ats-on", "ATS on"]],
  ["pci_disable_ats", ["ats-off", "ATS off"]],
  ["pci_enable_pasid", ["pasid-on", "PASID on"]],
  ["pci_disable_pasid", ["pasid-off", "PASID off"]],
  ["pci_enable_pri", ["pri-on", "PRI on"]],
  ["pci_disable_pri", ["pri-off", "PRI off"]],
  ["pci_restore_ats_state", ["ats-restore", "ATS restored"]],
  ["pci_restore_pasid_state", ["pasid-restore", "PASID restored"]],
  ["pci_restore_pri_state", ["pri-restore", "PRI restored"]],
  ["pci_dev_reset_iommu_prepare", ["reset", PREPARE]],
  ["pci_dev_reset_iommu_done", ["reset", DONE]],
  ["iommu_device_unuse_default_domain", ["unbind", "unbind"]],
]);

/** Returns that take their call's event back when it failed. At boot no returns were traced. */
const RETURNS: ReadonlyMap<string, LifecycleKind> = new Map([
  ["pci_enable_ats__ret", "ats-on"],
  ["pci_enable_pasid__ret", "pasid-on"],
  ["pci_enable_pri__ret", "pri-on"],
]);

/** Changes of a structure whose new words, and sometimes the old ones, are arguments: kind, count, prefixes. */
const WORDS: ReadonlyMap<string, readonly [TableKind, number, string, string?]> = new Map([
  ["arm_smmu_install_ste_for_dev", ["ste", 2, "target"]],
  ["arm_smmu_write_cd_entry", ["cd0", 4, "target", "cdptr"]],
  ["update_dte256", ["dte", 2, "new"]],
]);

/** Changes of a structure that the function's name tells. */
const EFFECTS: ReadonlyMap<string, readonly [TableKind, string]> = new Map([
  ["domain_context_clear_one", ["context", "context cleared"]],
  ["domain_context_mapping_one", ["context", "context translates"]],
  ["context_setup_pass_through", ["context", "context passes through"]],
  ["intel_pasid_tear_down_entry", ["pasid0", "PASID 0 cleared"]],
  ["intel_pasid_setup_first_level", ["pasid0", "PASID 0 first stage"]],
  ["intel_pasid_setup_second_level", ["pasid0", "PASID 0 second stage"]],
  ["intel_pasid_setup_pass_through", ["pasid0", "PASID 0 passes through"]],
]);

const ERRNO_NAMES: ReadonlyMap<string, string> = new Map([
  ["-1", "EPERM"],
  ["-2", "ENOENT"],
  ["-5", "EIO"],
  ["-6", "ENXIO"],
  ["-11", "EAGAIN"],
  ["-12", "ENOMEM"],
  ["-13", "EACCES"],
  ["-16", "EBUSY"],
  ["-17", "EEXIST"],
  ["-19", "ENODEV"],
  ["-22", "EINVAL"],
  ["-25", "ENOTTY"],
  ["-95", "EOPNOTSUPP"],
  ["-110", "ETIMEDOUT"],
]);

/** The lifecycle events of a phase in order, all devices. Calls that say nothing about the order are left out. */
export function recordedLifecycle(phase: Phase): readonly LifecycleEvent[] {
  const reader = new LifecycleReader();
  for (const event of phase.events) {
    reader.read(event);
  }
  return reader.events;
}

class LifecycleReader {
  readonly events: LifecycleEvent[] = [];
  /** Inside an attach or a release: tables change on behalf of this device, which not every call names. */
  #attaching: string | undefined;
  /** The returns of an attach and of a bind name no device. */
  #attached: string | undefined;
  #binding: string | undefined;

  read(event: RecordedEvent): void {
    const device = deviceOf(event);
    switch (event.name) {
      case "__iommu_attach_device":
        this.#attaching = device;
        this.#attached = device;
        this.#add(device, "attach", attachText(typeOf(event.args.get("domain")), typeOf(event.args.get("old"))));
        break;
      case "__iommu_attach_device__ret":
        this.#attaching = undefined;
        this.#add(this.#attached, "attached", `attached: ${resultOf(event)}`);
        break;
      case "iommu_deinit_device":
        this.#attaching = device;
        this.#add(device, "release", "release");
        break;
      // At boot the tracepoint alone tells that an attach is over.
      case "attach_device_to_domain":
      case "intel_iommu_release_device":
      case "amd_iommu_release_device":
        this.#attaching = undefined;
        break;
      case "iommu_device_use_default_domain":
        this.#binding = device;
        break;
      case "iommu_device_use_default_domain__ret":
        this.#add(this.#binding, "bind", `bind: ${resultOf(event)}`);
        break;
      default:
        this.#other(event, device);
    }
  }

  #other(event: RecordedEvent, device: string | undefined): void {
    const call = CALLS.get(event.name);
    const failed = RETURNS.get(event.name);
    if (call !== undefined) {
      this.#add(device, ...call);
    } else if (failed !== undefined && resultOf(event) !== "0") {
      const index = this.events.findLastIndex((one) => one.kind === failed);
      this.events.splice(index, index < 0 ? 0 : 1);
    } else {
      const change = this.#attaching === undefined ? undefined : tableChange(event);
      if (change !== undefined) {
        this.#add(device ?? this.#attaching, ...change);
      }
    }
  }

  #add(device: string | undefined, kind: LifecycleKind, text: string, before?: string): void {
    if (device !== undefined) {
      this.events.push({ device, kind, text, ...(before === undefined ? {} : { before }) });
    }
  }
}

/** How an attach is printed, on either side. */
export function attachText(type: string, old: string): string {
  return `attach ${type} (was ${old})`;
}

/** The device that a call names in one of its arguments. */
export function deviceOf(event: RecordedEvent): string | undefined {
  return ["dev", "pdev", "master", "dev_data", "info"]
    .map((name) => event.args.get(name))
    .find((value) => value !== undefined);
}

/** `DMA_FQ#2` → `DMA-FQ`; `NULL` and nothing → `none`. */
function typeOf(label: string | undefined): string {
  return label === undefined || label === "NULL" ? "none" : label.replace(/#.*$/u, "").replace("_", "-");
}

function resultOf(event: RecordedEvent): string {
  const value = event.args.get("ret") ?? "0";
  return value === "0" ? "0" : (ERRNO_NAMES.get(value) ?? value);
}

/** Of entries with a PASID, number 0 alone stands for requests without one. */
function tableChange(event: RecordedEvent): readonly [kind: TableKind, text: string, before?: string] | undefined {
  if ((event.args.get("ssid") ?? event.args.get("pasid") ?? "0") !== "0") {
    return undefined;
  }
  const written = WORDS.get(event.name);
  if (written === undefined) {
    return EFFECTS.get(event.name);
  }
  const [kind, count, after, before] = written;
  const text = (prefix: string): string =>
    tableText(
      kind,
      Array.from({ length: count }, (_, index) => BigInt(event.args.get(`${prefix}${index}`) ?? "0")),
    );
  return before === undefined ? [kind, text(after)] : [kind, text(after), text(before)];
}

const TABLES: ReadonlySet<LifecycleKind> = new Set(["ste", "cd0", "context", "pasid0", "dte"]);

/** The kernel rewrites these in steps; recordings have the final value alone. */
const STEPWISE: ReadonlySet<LifecycleKind> = new Set(["ste", "cd0"]);

/**
 * Makes the events of one device comparable: an STE or CD that is written in several steps counts once, with its final
 * value, a write that changes nothing that is compared does not count, and neither does a staging for a reset that
 * attaches nothing: the kernel calls those functions for every function, and they return at once without ATS or group.
 *
 * @param standing the structures' texts before, by kind; it is brought up to date
 */
export function condense(events: readonly LifecycleEvent[], standing: Map<LifecycleKind, string>): LifecycleEvent[] {
  return events.filter((event, index) => {
    if (event.kind === "reset") {
      const idle = [events[index - 1], event, events[index + 1]].map((one) => one?.text);
      return !(idle[1] === PREPARE && idle[2] === DONE) && !(idle[0] === PREPARE && idle[1] === DONE);
    }
    if (!TABLES.has(event.kind)) {
      return true;
    }
    if (event.before !== undefined && events[index - 1]?.kind !== event.kind) {
      standing.set(event.kind, event.before);
    }
    const step = STEPWISE.has(event.kind) && events[index + 1]?.kind === event.kind;
    if (step || standing.get(event.kind) === event.text) {
      return false;
    }
    standing.set(event.kind, event.text);
    return true;
  });
}
