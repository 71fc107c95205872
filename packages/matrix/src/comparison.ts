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
  /** Called before each column is measured. */
  onColumn?(id: string, index: number, count: number): void;
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
  const plan = columnsOf(options);
  const columns: Column[] = [];
  const cells: Cell[] = [];
  for (const [index, entry] of plan.entries()) {
    options.onColumn?.(entry.subject.id, index, plan.length);
    const measured = measure(scenario, entry.subject);
    columns.push({
      id: entry.subject.id,
      backend: entry.backend.id,
      kernel: entry.subject.id.split("/")[1] ?? "",
      policies: entry.policies.map(({ id }) => id),
      device: entry.device.id,
      atsRequired: measured.atsRequired,
      notes: measured.notes,
    });
    cells.push(...measured.cells);
  }
  return {
    schema: COMPARISON_SCHEMA,
    scenario: { id: scenario.id, title: scenario.title, question: scenario.question },
    columns,
    steps: scenario.steps.map(({ id, title }) => ({ id, title })),
    cells,
  };
}

interface PlannedColumn {
  readonly backend: Backend;
  readonly device: DeviceUnderTest;
  readonly policies: readonly NamedPolicy[];
  readonly subject: Subject;
}

function columnsOf(options: CompareOptions): PlannedColumn[] {
  const plan: PlannedColumn[] = [];
  const all = options.policies ?? [];
  for (const kernel of options.kernels ?? ["7.2"]) {
    for (const backend of options.backends) {
      const policies = all.filter(({ slot }) => slot === `ats:${backend.id.split(":")[0] ?? ""}`);
      for (const device of options.devices) {
        const made = subject({ backend, device, kernel, policies, cmdline: options.cmdline ?? "" });
        plan.push({ backend, device, policies, subject: made });
      }
    }
  }
  return plan;
}

/** The cell of a step in a column. @throws Error when there is none */
export function cellAt(comparison: Comparison, step: string, column: string): Cell {
  const found = comparison.cells.find((cell) => cell.step === step && cell.column === column);
  if (found === undefined) {
    throw new Error(`no cell ${step} in ${column}`);
  }
  return found;
}
