import { InputError } from "@iommu-lab/core";
import type { Backend, Cell, DeviceUnderTest, NamedPolicy, Scenario, Subject } from "@iommu-lab/scenario";
import { measure, subject } from "@iommu-lab/scenario";

/** The schema of {@link Comparison}. */
export const COMPARISON_SCHEMA = "iommu-lab/comparison@1";

/** One column: a backend, a kernel, a device, and the policies that differ from what the kernel ships. */
export interface Column {
  /** `backend/kernel/device[+policy…]`. */
  readonly id: string;
  /** Id of the backend. */
  readonly backend: string;
  /** Id of the kernel profile. */
  readonly kernel: string;
  /** Ids of the policies that replace shipped ones. */
  readonly policies: readonly string[];
  /** Id of the device. */
  readonly device: string;
  /** Whether Linux counts the device as ATS-required (`pci_ats_required()`). */
  readonly atsRequired: boolean;
  /** What decided about ATS, PASIDs and domains, in words. */
  readonly notes: readonly string[];
}

/** A scenario or a step, by name. */
export interface Named {
  /** What it is found by. */
  readonly id: string;
  /** One line for readers. */
  readonly title: string;
}

/** A measured comparison, as `iommu-lab compare --format json` prints it. */
export interface Comparison {
  /** Name and version of this form. */
  readonly schema: typeof COMPARISON_SCHEMA;
  /** What was played, and the question it answers. */
  readonly scenario: Named & Pick<Scenario, "question">;
  /** The columns, in order. */
  readonly columns: readonly Column[];
  /** The steps, in order. */
  readonly steps: readonly Named[];
  /** Column by column, in the order of the steps. */
  readonly cells: readonly Cell[];
}

/** What to compare. */
export interface CompareOptions {
  /** The IOMMUs, one column each per device and kernel. */
  readonly backends: readonly Backend[];
  /** The functions under test. */
  readonly devices: readonly DeviceUnderTest[];
  /** Kernel versions. Default `7.2`. */
  readonly kernels?: readonly string[];
  /** Policies to try; each is used by the backends that have its slot. */
  readonly policies?: readonly NamedPolicy[];
  /** Kernel parameters besides what backend and scenario need. */
  readonly cmdline?: string;
}

/** A column that is not measured yet. */
export interface PlannedColumn {
  /** The IOMMU. */
  readonly backend: Backend;
  /** The function under test. */
  readonly device: DeviceUnderTest;
  /** The policies that its backend has a slot for. */
  readonly policies: readonly NamedPolicy[];
  /** What the scenario is played on; its id is the column's. */
  readonly subject: Subject;
}

/** A column that is measured. */
export interface MeasuredColumn {
  /** What it is. */
  readonly column: Column;
  /** One cell per step. */
  readonly cells: readonly Cell[];
}

/**
 * Measures a scenario in every column: backend by device by kernel.
 *
 * @throws InputError for an unknown kernel
 * @example
 * ```ts
 * const comparison = compare(atsLifecycle, { backends: [smmuv3Backend, vtdBackend], devices: [nic] });
 * cellAt(comparison, "blocked", "intel-vtd:scalable/linux-7.2/nic").ats.enabled;
 * ```
 */
export function compare(scenario: Scenario, options: CompareOptions): Comparison {
  return assemble(
    scenario,
    planColumns(options).map((planned) => measureColumn(scenario, planned)),
  );
}

/**
 * The columns of a comparison in order: kernel by kernel, backend by backend, device by device. Each can be measured by
 * itself, in any order and anywhere; {@link assemble} puts the results together.
 *
 * @throws InputError for an unknown kernel, or a policy that no chosen backend has a slot for
 */
export function planColumns(options: CompareOptions): readonly PlannedColumn[] {
  const plan: PlannedColumn[] = [];
  const all = options.policies ?? [];
  for (const policy of all) {
    if (!options.backends.some((backend) => concerns(policy, backend))) {
      throw new InputError(`policy ${policy.id} concerns none of ${options.backends.map(({ id }) => id).join(", ")}`);
    }
  }
  for (const kernel of options.kernels ?? ["7.2"]) {
    for (const backend of options.backends) {
      const policies = all.filter((policy) => concerns(policy, backend));
      for (const device of options.devices) {
        const made = subject({ backend, device, kernel, policies, cmdline: options.cmdline ?? "" });
        plan.push({ backend, device, policies, subject: made });
      }
    }
  }
  return plan;
}

function concerns(policy: NamedPolicy, backend: Backend): boolean {
  return policy.slot === `ats:${backend.id.split(":")[0] ?? ""}`;
}

/** Measures one column. */
export function measureColumn(scenario: Scenario, planned: PlannedColumn): MeasuredColumn {
  const { backend, device, policies } = planned;
  const { cells, atsRequired, notes } = measure(scenario, planned.subject);
  const { id } = planned.subject;
  return {
    column: {
      id,
      backend: backend.id,
      kernel: id.split("/")[1] ?? "",
      policies: policies.map((policy) => policy.id),
      device: device.id,
      atsRequired,
      notes,
    },
    cells,
  };
}

/** Puts measured columns together, in the order given. */
export function assemble(scenario: Scenario, measured: readonly MeasuredColumn[]): Comparison {
  return {
    schema: COMPARISON_SCHEMA,
    scenario: { id: scenario.id, title: scenario.title, question: scenario.question },
    columns: measured.map(({ column }) => column),
    steps: scenario.steps.map(({ id, title }) => ({ id, title })),
    cells: measured.flatMap(({ cells }) => cells),
  };
}

/** The cell of a step in a column. @throws Error when there is none */
export function cellAt(comparison: Comparison, step: string, column: string): Cell {
  const found = comparison.cells.find((cell) => cell.step === step && cell.column === column);
  if (found === undefined) {
    throw new Error(`no cell ${step} in ${column}`);
  }
  return found;
}
