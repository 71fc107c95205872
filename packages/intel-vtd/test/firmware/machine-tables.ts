import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..", "..", "..", "..");
const data = process.env["IOMMU_LAB_DATA"] ?? path.resolve(root, "..", "shared", "data");

/** A row of iasl's output: hexadecimal without 0x. */
export interface IaslField {
  readonly offset: number;
  readonly length: number;
  readonly name: string;
  readonly value: string;
}

/** A table of a real machine, and what an independent program read in it. */
export interface MachineTable {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly structures: readonly (readonly IaslField[])[];
}

/** All DMARs of the sample data; none where it is absent. */
export function machineTables(): readonly MachineTable[] {
  const folder = path.join(data, "expected", "acpi", "dmar");
  if (!existsSync(folder)) {
    return [];
  }
  return readdirSync(folder)
    .toSorted()
    .map((file) => {
      const name = file.replace(/\.json$/, "");
      const expected = JSON.parse(readFileSync(path.join(folder, file), "utf8")) as Pick<MachineTable, "structures">;
      const bytes = readFileSync(path.join(data, "acpi", "dmar", `${name}.bin`));
      return { name, bytes: new Uint8Array(bytes), structures: expected.structures };
    });
}

/** Which unit serves which functions on a recorded server; undefined where the sample data is absent. */
export function serverUnits(): Readonly<Record<string, readonly string[]>> | undefined {
  const file = path.join(data, "expected", "groups", "spr-server-dmar-units.json");
  if (!existsSync(file)) {
    return undefined;
  }
  const expected = JSON.parse(readFileSync(file, "utf8")) as {
    readonly notes: { readonly dmarUnits: Readonly<Record<string, readonly string[]>> };
  };
  return expected.notes.dmarUnits;
}
