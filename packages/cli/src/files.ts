import { Buffer } from "node:buffer";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { InputError } from "@iommu-lab/core";

/** No dump of a machine comes near this. */
const LIMIT = 64 * 2 ** 20;

const CHUNK = 2 ** 16;
/** How long to wait before a pipe that has nothing yet is asked again, in ms. */
const RETRY_MS = 5;

/**
 * Reads a file as bytes; `-` is standard input. A pipe or a device has no size that could be asked beforehand, so what is read
 * is counted.
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
    return file === "-" ? readAll(0, file) : readOpened(file);
  } catch (error) {
    if (error instanceof InputError) {
      throw error;
    }
    throw new InputError(reason(error), { file });
  }
}

function readOpened(file: string): Uint8Array {
  const descriptor = openSync(file, "r");
  try {
    return readAll(descriptor, file);
  } finally {
    closeSync(descriptor);
  }
}

function readAll(descriptor: number, file: string): Uint8Array {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const chunk = new Uint8Array(CHUNK);
    const count = readSome(descriptor, chunk);
    if (count === 0) {
      return Buffer.concat(chunks, size);
    }
    size += count;
    if (size > LIMIT) {
      throw new InputError(`has more than ${LIMIT} bytes; no more are read`, { file });
    }
    chunks.push(chunk.subarray(0, count));
  }
}

/** Reads what is there; a pipe whose writer is slow may be set not to wait (EAGAIN), then this waits. */
function readSome(descriptor: number, chunk: Uint8Array): number {
  for (;;) {
    try {
      return readSync(descriptor, chunk);
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") {
        throw error;
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

/** Reads a text file. @throws InputError as {@link readBytes} */
export function readText(file: string): string {
  return new TextDecoder().decode(readBytes(file));
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function reason(error: unknown): string {
  if (codeOf(error) === "ENOENT") {
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
