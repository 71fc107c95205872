import { InputError } from "@iommu-lab/core";
import { expectInputSize } from "./input-size.ts";
import type { MachineDescription } from "./machine-description.ts";

/** What a value must be: a word for a plain value, the shape of an object, or a list of either. */
type Shape = "text" | "flag" | "count" | { readonly list: Shape } | { readonly [field: string]: Shape };

const ADDRESS = /^[\da-f]{4,8}:[\da-f]{2}:[01][\da-f]\.[0-7]$/i;
const texts: Shape = { list: "text" };
const pair: Shape = { vendor: "text", device: "text" };

/** The fields that are read, each optional; others are passed over. */
const deviceShape: { readonly [field: string]: Shape } = {
  bdf: "text",
  title: "text",
  vendor: "text",
  device: "text",
  deviceCandidates: texts,
  idsFrom: "text",
  class: "text",
  progIf: "text",
  revision: "text",
  subsystem: pair,
  driver: "text",
  iommuGroup: "text",
  numaNode: "count",
  path: texts,
  headerType: "count",
  multiFunction: "flag",
  severalFunctionsSeen: "flag",
  capabilities: { list: { offset: "text", name: "text", version: "count" } },
  bridge: { primary: "text", secondary: "text", subordinate: "text" },
  pcie: {
    type: "text",
    capVersion: "count",
    slot: "flag",
    flr: "flag",
    eetlpPrefix: "flag",
    maxEetlpPrefixes: "count",
    ariFwd: "flag",
  },
  devCap2: { eetlpPrefix: "flag", maxEetlpPrefixes: "count", ariFwd: "flag" },
  ats: {
    invalidateQueueDepth: "count",
    pageAlignedRequest: "flag",
    globalInvalidate: "flag",
    relaxedOrdering: "flag",
    enable: "flag",
    smallestTranslationUnit: "count",
  },
  pri: { enable: "flag", status: texts, outstandingCapacity: "count", outstandingAllocation: "count" },
  pasid: {
    execSupported: "flag",
    privSupported: "flag",
    maxPasidWidth: "count",
    enable: "flag",
    execEnable: "flag",
    privEnable: "flag",
  },
  acs: { capability: texts, control: texts },
  ari: { mfvc: "flag", acs: "flag", nextFunction: "count" },
  sriov: {
    enable: "flag",
    initialVFs: "count",
    totalVFs: "count",
    numVFs: "count",
    vfOffset: "count",
    vfStride: "count",
    vfDeviceId: "text",
  },
};

/** Objects whose fields must all be there. */
const whole: ReadonlySet<string> = new Set(["acs", "bridge", "subsystem"]);

/**
 * Reads a machine description: a JSON object with `devices`, each with a `bdf` and what is known of it.
 *
 * @param fileName named in errors
 * @throws InputError for text that is no JSON (with its line), for a field of another kind than expected, for an address
 *   that cannot be read or comes twice, for a machine without devices, and for more than 64 MiB
 */
export function parseMachineJson(text: string, fileName?: string): MachineDescription {
  expectInputSize("the machine description", text.length, fileName);
  const where = fileName === undefined ? {} : { file: fileName };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError("is no JSON", { ...where, ...lineOf(text, error) });
  }
  const checker: Checker = new Checker(fileName);
  checker.machine(value);
  return value;
}

function lineOf(text: string, error: unknown): { readonly line?: number } {
  const position = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined;
  return position === undefined ? {} : { line: text.slice(0, Number(position)).split("\n").length };
}

class Checker {
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  machine(value: unknown): asserts value is MachineDescription {
    if (!isObject(value) || !Array.isArray(value["devices"])) {
      this.#fail("the document", value, 'an object with a list "devices", as a machine description has it');
    }
    for (const name of ["machine", "kernel", "source"]) {
      this.#check(value[name], "text", name);
    }
    const seen = new Set<string>();
    const devices: readonly unknown[] = value["devices"];
    if (devices.length === 0) {
      this.#fail("devices", devices, "at least one function");
    }
    for (const [index, device] of devices.entries()) {
      const at = `devices[${index}]`;
      if (!isObject(device)) {
        this.#fail(at, device, "an object");
      }
      const { bdf } = device;
      if (typeof bdf !== "string" || !ADDRESS.test(bdf)) {
        this.#fail(`${at}.bdf`, bdf, "an address such as 0000:01:00.0");
      }
      if (seen.has(bdf)) {
        this.#fail(`${at}.bdf`, bdf, "an address that no other function has");
      }
      seen.add(bdf);
      if (!Array.isArray(device["capabilities"])) {
        this.#fail(`${at}.capabilities`, device["capabilities"], "a list, empty where nothing is known");
      }
      this.#check(device, deviceShape, at);
    }
  }

  #check(value: unknown, shape: Shape, at: string): void {
    if (value === undefined) {
      return;
    }
    if (typeof shape === "string") {
      this.#plain(value, shape, at);
    } else if (isList(shape)) {
      this.#list(value, shape.list, at);
    } else {
      this.#object(value, shape, at);
    }
  }

  #plain(value: unknown, shape: "text" | "flag" | "count", at: string): void {
    if (shape === "text" && typeof value !== "string") {
      this.#fail(at, value, "a text");
    }
    if (shape === "flag" && typeof value !== "boolean") {
      this.#fail(at, value, "true or false");
    }
    if (shape === "count" && !(typeof value === "number" && Number.isSafeInteger(value))) {
      this.#fail(at, value, "a whole number");
    }
  }

  #list(value: unknown, shape: Shape, at: string): void {
    if (!Array.isArray(value)) {
      this.#fail(at, value, "a list");
    }
    const items: readonly unknown[] = value;
    for (const [index, item] of items.entries()) {
      this.#check(item ?? null, shape, `${at}[${index}]`);
    }
  }

  #object(value: unknown, shape: { readonly [field: string]: Shape }, at: string): void {
    if (!isObject(value)) {
      this.#fail(at, value, "an object");
    }
    const isWhole = whole.has(at.slice(at.lastIndexOf(".") + 1));
    // A capability is nothing without its place and its name.
    const isCapability = at.endsWith("]") && "offset" in shape;
    for (const [field, inner] of Object.entries(shape)) {
      const found = Object.hasOwn(value, field) ? value[field] : undefined;
      const isNeeded = isWhole || (isCapability && field !== "version");
      this.#check(isNeeded ? (found ?? null) : found, inner, `${at}.${field}`);
    }
  }

  #fail(at: string, found: unknown, expected: string): never {
    const shown = found === undefined ? "nothing" : (JSON.stringify(found) ?? "nothing").slice(0, 60);
    throw new InputError(
      `${at}: found ${shown}, expected ${expected}`,
      this.#file === undefined ? {} : { file: this.#file },
    );
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isList(shape: Exclude<Shape, string>): shape is { readonly list: Shape } {
  return "list" in shape;
}
