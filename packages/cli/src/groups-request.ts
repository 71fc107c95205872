import { InputError } from "@iommu-lab/core";
import { type AssumedAcs, type GroupingOptions, type MachineFunction, parseMachineAddress } from "@iommu-lab/pci";

/** The words of `iommu-lab groups`, as they were typed. */
export interface GroupsWords {
  readonly kernel: string;
  readonly cmdline: string;
  readonly firmware: "acpi" | "device-tree";
  readonly iommu: "amd-vi" | "arm-smmuv3" | "intel-vtd" | undefined;
  readonly pchPeerDecode: "on" | "off" | undefined;
  readonly whatIf: readonly string[];
}

/** Options for the grouping as it is, and as it would be. */
export interface GroupsRequest {
  readonly asIs: GroupingOptions;
  /** Undefined when nothing is assumed. */
  readonly whatIf: GroupingOptions | undefined;
}

const ASSUMPTION = /^acs=(on|off):(.+)$/;

/** Turns words into options. @throws InputError for an assumption that cannot be read, or about an unknown function */
export function groupsRequest(words: GroupsWords, functions: readonly MachineFunction[]): GroupsRequest {
  const parameters = words.cmdline.split(/\s+/).filter((word) => word.startsWith("pci="));
  const asIs: GroupingOptions = {
    kernel: words.kernel,
    parameter: parameters.map((word) => word.slice("pci=".length)).join(","),
    firmware: words.firmware,
    exclusiveRequesterIds: words.iommu === "arm-smmuv3",
    facts: {
      ...(words.iommu === undefined ? {} : { ivrs: words.iommu === "amd-vi" }),
      ...(words.pchPeerDecode === undefined ? {} : { pchPeerDecodeOff: words.pchPeerDecode === "off" }),
    },
  };
  if (words.whatIf.length === 0) {
    return { asIs, whatIf: undefined };
  }
  const assumedAcs = new Map<string, AssumedAcs>();
  let acsQuirks = true;
  for (const word of words.whatIf) {
    const [, state, address = ""] = ASSUMPTION.exec(word) ?? [];
    if (word === "quirk=off") {
      acsQuirks = false;
    } else if (state === "on" || state === "off") {
      assumedAcs.set(functionNamed(address, functions), state);
    } else {
      throw new InputError(`--what-if ${JSON.stringify(word)}: expected acs=on:BDF, acs=off:BDF or quirk=off`);
    }
  }
  return { asIs, whatIf: { ...asIs, assumedAcs, acsQuirks } };
}

/** The full name of a function of the machine. @throws InputError when there is none */
export function functionNamed(address: string, functions: readonly MachineFunction[]): string {
  const wanted = parseMachineAddress(address);
  const found = functions.find(({ bdf }) => {
    const { segment, rid } = parseMachineAddress(bdf);
    return segment === wanted.segment && rid === wanted.rid;
  });
  if (found === undefined) {
    const some = functions.slice(0, 3).map(({ bdf }) => bdf);
    throw new InputError(`no function at ${address}: the machine has ${functions.length}, such as ${some.join(", ")}`);
  }
  return found.bdf.length > 7 ? found.bdf : `0000:${found.bdf}`;
}
