import { readFileSync, statSync } from "node:fs";
import { InputError } from "@iommu-lab/core";

/** No dump of a machine comes near this. */
const LIMIT = 64 * 2 ** 20;

/**
 * Reads a file as bytes; `-` is standard input.
 *
 * @throws InputError when it cannot be read or is far too large
 */
export function readBytes(file: string): Uint8Array {
  try {
    const stat = file === "-" ? undefined : statSync(file);
    if (stat?.isDirectory() === true) {
      throw new InputError("is not a file", { file });
    }
    if (stat !== undefined && stat.size > LIMIT) {
      throw new InputError(`has ${stat.size} bytes; at most ${LIMIT} are read`, { file });
    }
    return readFileSync(file === "-" ? 0 : file);
  } catch (error) {
    if (error instanceof InputError) {
      throw error;
    }
    throw new InputError(reason(error), { file });
  }
}

/** Reads a text file. @throws InputError as {@link readBytes} */
export function readText(file: string): string {
  return new TextDecoder().decode(readBytes(file));
}

function reason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") {
    return "no such file";
  }
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

/** `FILE@BDF` → file and function; `FILE` alone has none. */
export function splitDevice(argument: string): { readonly file: string; readonly bdf: string | undefined } {
  const at = argument.lastIndexOf("@");
  if (at <= 0) {
    return { file: argument, bdf: undefined };
  }
  return { file: argument.slice(0, at), bdf: argument.slice(at + 1) };
}
