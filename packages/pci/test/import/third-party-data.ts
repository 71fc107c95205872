import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import type { MachineDescription } from "@iommu-lab/pci";

/** Where the dumps of real machines are: not part of this repository. */
const root: string =
  process.env["IOMMU_LAB_DATA"] ?? path.resolve(import.meta.dirname, "../../../..", "..", "shared", "data");

/** One dump with the answers of another program. */
export interface DumpCase {
  readonly name: string;
  readonly text: string;
  readonly expected: {
    readonly devices: readonly ExpectedDevice[];
    /** What a person read from the bytes of a DVSEC that came before the consortium's vendor id. */
    readonly cxlByHand?: Readonly<Record<string, unknown>>;
  };
}

/** What `lspci` says about a function, as far as it is compared. */
export interface ExpectedDevice {
  readonly bdf: string;
  readonly vendor: string;
  readonly device: string;
  readonly class: string;
  readonly revision?: string;
  readonly configBytes: number;
  readonly headerType: number;
  readonly multiFunction: boolean;
  readonly capabilities: readonly { readonly offset: string; readonly name: string; readonly version?: number }[];
  readonly bridge?: object;
  readonly pcie?: { readonly type: string; readonly capVersion: number; readonly slot?: boolean };
  readonly devCap2?: { readonly eetlpPrefix?: boolean; readonly maxEetlpPrefixes?: number; readonly ariFwd?: boolean };
  readonly ats?: object;
  readonly pri?: object;
  readonly pasid?: object;
  readonly acs?: object;
  readonly ari?: object;
  readonly sriov?: object;
  readonly cxl?: object;
  readonly doe?: readonly { readonly intSup: boolean }[];
  readonly dpcCap?: string;
  readonly ideCap?: string;
}

/** Why there are no cases, or undefined. */
export const missingData: string | undefined = existsSync(path.join(root, "config-space"))
  ? undefined
  : `no dumps at ${root} (set IOMMU_LAB_DATA)`;

/** Every dump that has an answer. */
export function dumpCases(): DumpCase[] {
  if (missingData !== undefined) {
    return [];
  }
  const answers = path.join(root, "expected", "config-space");
  return readdirSync(answers)
    .filter((file) => file.endsWith(".json"))
    .toSorted()
    .map((file) => ({
      name: file.replace(/\.json$/, ""),
      text: readFileSync(path.join(root, "config-space", file.replace(/json$/, "txt")), "utf8"),
      expected: JSON.parse(readFileSync(path.join(answers, file), "utf8")) as DumpCase["expected"],
    }));
}

/** A machine as decoded text tells of it, with the groups that Linux made of it. */
export interface MachineCase {
  readonly name: string;
  readonly machine: MachineDescription;
  /** Sets of addresses. */
  readonly groups: readonly (readonly string[])[];
  readonly withoutGroup: readonly string[];
}

/** Every machine that has an answer. */
export function machineCases(): MachineCase[] {
  if (missingData !== undefined) {
    return [];
  }
  const answers = path.join(root, "expected", "groups");
  return readdirSync(answers)
    .filter((file) => file.endsWith(".json"))
    .toSorted()
    .map((file) => {
      const answer = JSON.parse(readFileSync(path.join(answers, file), "utf8")) as {
        readonly groups: Readonly<Record<string, readonly string[]>>;
        readonly devicesWithoutGroup: readonly string[];
      };
      return {
        name: file.replace(/\.json$/, ""),
        machine: JSON.parse(readFileSync(path.join(root, "machines", file), "utf8")) as MachineDescription,
        groups: Object.values(answer.groups),
        withoutGroup: answer.devicesWithoutGroup,
      };
    });
}
