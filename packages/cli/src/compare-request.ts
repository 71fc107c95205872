import { InputError } from "@iommu-lab/core";
import { type PlannedColumn, planColumns } from "@iommu-lab/matrix";
import type { DeviceUnderTest, NamedPolicy, Scenario } from "@iommu-lab/scenario";
import { accelerator, atsLifecycle, deviceFromDump, nic } from "@iommu-lab/scenario";
import { backendsNamed } from "./backends.ts";
import { readText, splitDevice } from "./files.ts";
import { policies } from "./policies.ts";

/** The scenarios that the command knows. */
export const scenarios: readonly Scenario[] = [atsLifecycle];

/** The devices that need no dump. */
const builtIn: readonly DeviceUnderTest[] = [nic, accelerator];

/** What a comparison was asked for, in the words of the command line. */
export interface CompareRequest {
  readonly scenario: string;
  readonly backends: readonly string[];
  readonly devices: readonly string[];
  readonly kernels: readonly string[];
  readonly policies: readonly string[];
  readonly cmdline: string;
}

/** A request made out: the scenario, and its columns in order. */
export interface ComparePlan {
  readonly scenario: Scenario;
  readonly columns: readonly PlannedColumn[];
}

/** Makes a request out. @throws InputError for an unknown name, or a dump that cannot be read */
export function planOf(request: CompareRequest): ComparePlan {
  const scenario = named("scenario", scenarios, request.scenario);
  const columns = planColumns({
    backends: backendsNamed(request.backends),
    devices: request.devices.length === 0 ? builtIn : request.devices.map(deviceNamed),
    kernels: request.kernels.length === 0 ? ["7.2"] : request.kernels,
    policies: request.policies.map((id): NamedPolicy => named("policy", policies, id)),
    cmdline: request.cmdline,
  });
  return { scenario, columns };
}

/** A built-in device, or a function of a dump (`FILE[@BDF]`). */
function deviceNamed(argument: string): DeviceUnderTest {
  const known = builtIn.find(({ id }) => id === argument);
  if (known !== undefined) {
    return known;
  }
  const { file, bdf } = splitDevice(argument);
  return deviceFromDump(readText(file), file, bdf);
}

/** The element with this id. @throws InputError that lists the known ones */
export function named<T extends { readonly id: string }>(what: string, known: readonly T[], id: string): T {
  const found = known.find((one) => one.id === id);
  if (found === undefined) {
    const ids = known.map((one) => one.id).join(", ");
    throw new InputError(`unknown ${what} ${JSON.stringify(id)}: expected one of ${ids}`);
  }
  return found;
}
