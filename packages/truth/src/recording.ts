import { JsonField } from "./json-field.ts";
import type { RecordedState } from "./state.ts";
import { readState } from "./state.ts";

/** The schema that this parser reads. */
export const RECORDING_SCHEMA = "iommu-oracle/1";

/** One traced function call or tracepoint. */
export interface RecordedEvent {
  /** Seconds of guest time. */
  readonly time: number;
  /** The task that ran it. */
  readonly task: string;
  /** Function or tracepoint; the return of `f` is called `f__ret`. */
  readonly name: string;
  /** Arguments and return value, as printed. */
  readonly args: ReadonlyMap<string, string>;
  /** Text of a tracepoint that has no arguments. */
  readonly text: string | undefined;
}

/** One thing that was done in the guest, and what followed. */
export interface Phase {
  /** Position in the recording, from 0. */
  readonly index: number;
  /** Such as `type-unbound:vnet_ats:DMA`; names repeat. */
  readonly name: string;
  /** The shell command; undefined for `boot`. */
  readonly command: string | undefined;
  /** What the shell printed. */
  readonly output: string;
  readonly events: readonly RecordedEvent[];
  /** What was read afterwards, made whole; undefined when nothing was read. */
  readonly state: RecordedState | undefined;
}

/** The series of a kernel release: `7.2` of `7.2.13-1-amd64`. */
export function kernelVersion(release: string): string {
  return /^\d+\.\d+/u.exec(release)?.[0] ?? release;
}

/** A recording of a kernel on an emulated machine. */
export interface Recording {
  /** File name without directory. */
  readonly file: string;
  /** Such as `vtd-legacy-dt-7.2`. */
  readonly name: string;
  readonly vendor: "intel" | "amd" | "arm";
  /** Release string, such as `7.2.13+deb14-amd64`. */
  readonly kernel: string;
  /** Words added to the kernel's command line. */
  readonly kernelArguments: string;
  /** Words that were added to the machine's device tree, such as `ats-supported`. */
  readonly deviceTreeAdded: ReadonlySet<string>;
  /** Role → address. */
  readonly roles: ReadonlyMap<string, string>;
  /** Functions whose calls would have been seen during `boot`. */
  readonly bootProbes: ReadonlySet<string>;
  /** The same for every later phase. */
  readonly probes: ReadonlySet<string>;
  readonly phases: readonly Phase[];
}

/** Whether a text is a recording of any version, by its schema alone. @returns the schema, undefined when there is none */
export function schemaOf(text: string): string | undefined {
  return /"schema"\s*:\s*"([^"]*)"/u.exec(text.slice(0, 4096))?.[1];
}

/**
 * Reads a recording.
 *
 * @param file name for errors
 * @throws InputError that names file, phase and field of what is damaged
 */
export function parseRecording(text: string, file: string): Recording {
  const root = JsonField.parse(text, file);
  const schema = root.at("schema").text();
  if (schema !== RECORDING_SCHEMA) {
    root.at("schema").fail(`expected ${JSON.stringify(RECORDING_SCHEMA)}, found ${JSON.stringify(schema)}`);
  }
  const probes = root.at("probes");
  const unseen = new Set(
    [...probes.at("absent").items(), ...probes.at("refused").items()].map((one) => one.text().replace(/\(.*$/u, "")),
  );
  return {
    file,
    name: root.at("case").text(),
    vendor: readVendor(root.at("vendor")),
    kernel: root.at("kernel").text(),
    kernelArguments: root.at("kernel_args").optionalText() ?? "",
    deviceTreeAdded: new Set(
      root.at("device_tree_added").present
        ? root
            .at("device_tree_added")
            .items()
            .map((word) => word.text())
        : [],
    ),
    roles: new Map(
      root
        .at("roles")
        .entries()
        .map(([role, address]) => [role, address.text()]),
    ),
    bootProbes: new Set(root.at("boot_kprobes").present ? root.at("boot_kprobes").items().map(probed) : []),
    probes: new Set(
      probes
        .at("lines")
        .items()
        .map(probed)
        .filter((name) => !unseen.has(name)),
    ),
    phases: readPhases(root.at("phases")),
  };
}

function readVendor(field: JsonField): Recording["vendor"] {
  const vendor = field.text();
  switch (vendor) {
    case "intel":
    case "amd":
    case "arm":
      return vendor;
    default:
      return field.fail(`expected "intel", "amd" or "arm", found ${JSON.stringify(vendor)}`);
  }
}

/** `p:name function …` and `p:name,function,…` both name the function's event first. */
function probed(line: JsonField): string {
  const name = /^[pr]:([^\s,]+)/u.exec(line.text())?.[1];
  return name ?? line.fail('expected a probe line such as "p:name function"');
}

function readPhases(list: JsonField): Phase[] {
  const phases: Phase[] = [];
  let state: RecordedState | undefined;
  for (const [index, item] of list.items().entries()) {
    const name = item.at("name").text();
    const field = item.named(`phase ${index} ${JSON.stringify(name)}`);
    const sampled = field.at("state").present;
    if (sampled) {
      state = readState(field, state);
    }
    phases.push({
      index,
      name,
      command: field.at("cmd").optionalText(),
      output: field.at("output").optionalText() ?? "",
      events: field.at("events").items().map(readEvent),
      state: sampled ? state : undefined,
    });
  }
  return phases;
}

function readEvent(field: JsonField): RecordedEvent {
  const args = field.at("args");
  return {
    time: field.at("t").number(),
    task: field.at("task").text(),
    name: field.at("ev").text(),
    args: new Map(args.present ? args.entries().map(([key, value]) => [key, value.text()]) : []),
    text: field.at("text").optionalText(),
  };
}
