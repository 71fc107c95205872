import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Recording } from "@iommu-lab/truth";
import { parseRecording } from "@iommu-lab/truth";

/** The directory of the committed recordings. */
export const directory: string = fileURLToPath(new URL("../../recordings", import.meta.url));

/** The committed recordings, by case. */
export const cases: readonly string[] = [
  "vtd-legacy-dt-7.2",
  "vtd-sm-fsts-7.2",
  "acpi-amd-eph-7.2",
  "poke-smmu-ats-ssid-7.2",
  "smmu-7.2",
];

/** The text of a committed file. */
export function read(file: string): string {
  return readFileSync(new URL(`../../recordings/${file}`, import.meta.url), "utf8");
}

/** A committed recording. */
export function load(name: string): Recording {
  return parseRecording(read(`${name}.json`), `${name}.json`);
}
