import { existsSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const folder = process.env["IOMMU_LAB_DATA"] ?? path.resolve(root, "..", "shared", "data");

/** Dumps and tables of real machines, beside the repository; undefined where they are absent. */
export const dataFolder: string | undefined = existsSync(folder) ? folder : undefined;
