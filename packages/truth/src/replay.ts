import type { Device, Trace } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { pciDev } from "@iommu-lab/pci";
import type { Difference, Scope } from "./compare.ts";
import { compareCommands, compareViews } from "./compare.ts";
import type { DeviceView, PhaseExpectation } from "./expectation.ts";
import { expectations } from "./expectation.ts";
import type { Explanation } from "./explained.ts";
import { explanationOf } from "./explained.ts";
import type { LifecycleKind } from "./lifecycle.ts";
import { condense } from "./lifecycle.ts";
import type { Machine } from "./machine.ts";
import { buildMachine } from "./machine.ts";
import { formatWord, maskTables } from "./mask.ts";
import { modelSnapshot } from "./model-snapshot.ts";
import type { Observed } from "./observe.ts";
import { Observer } from "./observe.ts";
import { planPhase, prepare } from "./phases.ts";
import type { Plan } from "./plan.ts";
import { driverNamed, typeOf } from "./plan.ts";
import type { Recording } from "./recording.ts";
import { prepareMethods, printedMethods } from "./reset-phases.ts";
import type { PhaseReport, ReportedDifference, Verdict } from "./report.ts";
import { standingTexts } from "./table-text.ts";

/** A dump of config space. */
export interface Dump {
  readonly text: string;
  /** For errors. */
  readonly file: string;
}

/**
 * Plays a recording on the model, phase by phase, and compares after each.
 *
 * @throws InputError when the recording asks for a machine that cannot be built
 */
export function replay(recording: Recording, dump: Dump, explanations: readonly Explanation[]): readonly PhaseReport[] {
  const machine = buildMachine(recording, dump);
  const run = new Replay(recording, machine, explanations);
  return expectations(recording).map((expectation) => run.phase(expectation));
}

class Replay {
  readonly #recording: Recording;
  readonly #machine: Machine;
  readonly #explanations: readonly Explanation[];
  readonly #observer: Observer;
  /** Texts of the model's structures, per device, as events are condensed against them. */
  readonly #standing = new Map<string, Map<LifecycleKind, string>>();

  constructor(recording: Recording, machine: Machine, explanations: readonly Explanation[]) {
    this.#recording = recording;
    this.#machine = machine;
    this.#explanations = explanations;
    const trace: Trace = machine.platform.trace;
    this.#observer = new Observer(trace, recording.vendor, (rid) => machine.nameOf(rid));
  }

  phase(expectation: PhaseExpectation): PhaseReport {
    if (expectation.phase.index === 0) {
      return this.#boot(expectation);
    }
    const plan = planPhase(expectation, this.#machine.kernel, this.#recording.roles);
    return typeof plan === "string"
      ? { ...empty(expectation), verdict: "not yet", reason: plan }
      : this.#act(expectation, plan);
  }

  /** Boots, binds what the recorded kernel had bound, and looks at every device. */
  #boot(expectation: PhaseExpectation): PhaseReport {
    const { platform, kernel } = this.#machine;
    platform.boot();
    this.#bindRecorded(expectation);
    const observed = this.#observer.take();
    const differences = this.#compareRegisters(expectation);
    for (const address of kernel.functions) {
      differences.push(...this.#compare(expectation, address, observed));
    }
    return this.#report(expectation, differences, observed, [...kernel.functions], []);
  }

  /** The IOMMU itself: which parts of it the kernel switched on. */
  #compareRegisters(expectation: PhaseExpectation): Difference[] {
    const recorded = expectation.phase.state?.registers;
    return this.#machine.registers().flatMap(([name, mask, model]) => {
      const value = (recorded?.get(name)?.[0] ?? 0n) & mask;
      const aspect = `register ${name}`;
      return value === model
        ? []
        : [{ device: "iommu", aspect, recorded: formatWord(value), model: formatWord(model) }];
    });
  }

  #bindRecorded(expectation: PhaseExpectation): void {
    const { platform, kernel } = this.#machine;
    for (const [address, recorded] of expectation.phase.state?.devices ?? []) {
      const device = this.#device(address);
      if (device !== undefined && device.driver === undefined && recorded.driver !== undefined) {
        platform.run(kernel.bus.bind(device, driverNamed(recorded.driver)));
      }
    }
  }

  #act(expectation: PhaseExpectation, plan: Plan): PhaseReport {
    const { platform, kernel } = this.#machine;
    const prepared = plan.starts.flatMap(([device, start]) => platform.run(prepare(kernel, device, start)));
    for (const device of plan.targets.map((address) => this.#device(address))) {
      prepared.push(...(device === undefined ? [] : platform.run(prepareMethods(expectation, kernel.bus, device))));
    }
    const methods = this.#methods(plan.targets[0] ?? "");
    this.#remember(this.#observer.take());
    let result = "0";
    try {
      platform.run(plan.run(), "shell");
    } catch (error) {
      result = error instanceof KernelError ? error.errno : String(error);
    }
    const observed = this.#observer.take();
    const differences = checkResult(expectation, plan.targets[0] ?? "", result);
    for (const address of plan.targets) {
      differences.push(...this.#compare(expectation, address, observed));
    }
    differences.push(...this.#checkType(expectation, plan.targets[0] ?? ""));
    differences.push(...this.#checkMethods(expectation, plan.targets[0] ?? "", methods));
    return this.#report(expectation, differences, observed, plan.targets, prepared);
  }

  /** Where nothing else was read, the type that the phase printed last. */
  #checkType(expectation: PhaseExpectation, address: string): Difference[] {
    const { output, phase } = expectation;
    const group = this.#device(address)?.group;
    const type = group === undefined ? "none" : typeOf(group);
    return phase.state !== undefined || output.typeAfter === undefined || output.typeAfter === type
      ? []
      : [{ device: address, aspect: "type", recorded: output.typeAfter, model: type }];
  }

  #methods(address: string): string {
    const device = this.#device(address);
    return device === undefined ? "none" : pciDev(device).resetMethods.join(" ");
  }

  /** The reset methods, where the phase printed them. */
  #checkMethods(expectation: PhaseExpectation, address: string, before: string): Difference[] {
    const recorded = expectation.output.methods;
    const model = printedMethods(expectation, before, this.#methods(address));
    return recorded === undefined || recorded === model
      ? []
      : [{ device: address, aspect: "reset methods", recorded, model }];
  }

  /** Unrecorded steps change the structures as well. */
  #remember(observed: Observed): void {
    for (const address of new Set(observed.events.map((event) => event.device))) {
      const own = observed.events.filter((event) => event.device === address);
      condense(own, this.#standingOf(address));
    }
  }

  #standingOf(address: string): Map<LifecycleKind, string> {
    const known = this.#standing.get(address) ?? new Map<LifecycleKind, string>();
    this.#standing.set(address, known);
    return known;
  }

  #compare(expectation: PhaseExpectation, address: string, observed: Observed): Difference[] {
    const scope: Scope = { observable: expectation.observable, modelled: this.#machine.kernel.functions };
    return compareViews(expectation.device(address), this.#view(address, observed), scope);
  }

  #view(address: string, observed: Observed): DeviceView {
    const own = observed.events.filter((event) => event.device === address);
    const events = condense(own, this.#standingOf(address));
    const device = this.#device(address);
    if (device === undefined) {
      this.#standing.delete(address);
    }
    const tables = device === undefined ? undefined : this.#machine.tables(pciDev(device).rid);
    if (tables !== undefined) {
      this.#standing.set(address, new Map([...this.#standingOf(address), ...standingTexts(tables)]));
    }
    return {
      device: address,
      state: device === undefined || tables === undefined ? "absent" : modelSnapshot(device, maskTables(tables)),
      events,
      commands: observed.commands.filter((attach) => attach.device === address),
    };
  }

  #device(address: string): Device | undefined {
    return this.#machine.platform.iommu.deviceNamed(address);
  }

  #report(
    expectation: PhaseExpectation,
    found: readonly Difference[],
    observed: Observed,
    addresses: readonly string[],
    prepared: readonly string[],
  ): PhaseReport {
    const commands = addresses.map((address) =>
      compareCommands(
        expectation.device(address).commands,
        observed.commands.filter((attach) => attach.device === address),
      ),
    );
    const differences: ReportedDifference[] = [];
    for (const difference of [...found, ...commands.flatMap((one) => one.differences)]) {
      const role = this.#role(difference.device);
      const place = { recording: this.#recording.name, phase: expectation.phase.name, role };
      differences.push({ ...difference, role, cause: explanationOf(this.#explanations, place, difference)?.cause });
    }
    const verdicts = new Set(commands.map(({ verdict }) => verdict));
    return {
      ...empty(expectation),
      verdict: verdictOf(differences),
      prepared,
      differences,
      commands: verdicts.has("differ") ? "differ" : verdicts.has("agree") ? "agree" : "none",
    };
  }

  #role(address: string): string {
    return [...this.#recording.roles].find(([, one]) => one === address)?.[0] ?? address;
  }
}

function empty(expectation: PhaseExpectation): PhaseReport {
  return {
    index: expectation.phase.index,
    name: expectation.phase.name,
    verdict: "agree",
    reason: undefined,
    prepared: [],
    differences: [],
    commands: "none",
  };
}

function verdictOf(differences: readonly ReportedDifference[]): Verdict {
  if (differences.length === 0) {
    return "agree";
  }
  return differences.every(({ cause }) => cause !== undefined) ? "explained" : "differ";
}

/** The errno behind the shell's message. */
function checkResult(expectation: PhaseExpectation, address: string, result: string): Difference[] {
  const recorded = expectation.output.result ?? "0";
  return recorded === result ? [] : [{ device: address, aspect: "result", recorded, model: result }];
}
