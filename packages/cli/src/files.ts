import { readFileSync, statSync } from "node:fs";
import { InputError } from "@iommu-lab/core";

/** No dump of a machine comes near this. */
const LIMIT = 64 * 2 ** 20;

/** Reads a text file. @throws InputError when it cannot be read or is far too large */
export function readText(file: string): string {
  let size: number;
  try {
    const stat = statSync(file);
    if (!stat.isFile()) {
      throw new InputError("is not a file", { file });
    }
    ({ size } = stat);
  } catch (error) {
    if (error instanceof InputError) {
      throw error;
    }
    throw new InputError("no such file, or it cannot be read", { file });
  }
  if (size > LIMIT) {
    throw new InputError(`has ${size} bytes; at most ${LIMIT} are read`, { file });
  }
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new InputError(`cannot be read: ${error instanceof Error ? error.message : String(error)}`, { file });
  }
}

/** `FILE@BDF` → file and function; `FILE` alone has none. */
export function splitDevice(argument: string): { readonly file: string; readonly bdf: string | undefined } {
  const at = argument.lastIndexOf("@");
  if (at <= 0) {
    return { file: argument, bdf: undefined };
  }
  return { file: argument.slice(0, at), bdf: argument.slice(at + 1) };
}
