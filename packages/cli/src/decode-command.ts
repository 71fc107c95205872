import {
  type DecodedLayout,
  InputError,
  type LayoutFields,
  type LayoutValue,
  bytesOfHex,
  layoutFields,
} from "@iommu-lab/core";
import { type Command, Option } from "commander";
import { readBytes, readText } from "./files.ts";
import { layoutNamed, layouts } from "./layouts.ts";
import { emit } from "./output.ts";

interface Flags {
  readonly all?: boolean;
  readonly format: "table" | "json";
  readonly output?: string;
}

function kinds(): string {
  const width = Math.max(0, ...layouts.map(({ kind }) => kind.length));
  return layouts.map(({ kind, title, source }) => `  ${kind.padEnd(width)}  ${title} (${source})`).join("\n");
}

function formatOption(): Option {
  return new Option("-f, --format <format>", "output format").choices(["table", "json"]).default("table");
}

/** `iommu-lab decode` and `iommu-lab encode`. */
export function addDecode(program: Command): void {
  program
    .command("decode")
    .description("show the fields of a table entry, command, event or firmware table, and what the hardware would do")
    .argument("<kind>", "which layout")
    .argument(
      "<hex...>",
      "its bytes in memory order, or 64-bit words as kernels print them (0x…, lowest first), or @FILE",
    )
    .addOption(formatOption())
    .option("-a, --all", "show fields that are 0 as well")
    .option("-o, --output <file>", "write to a file")
    .addHelpText(
      "after",
      () =>
        `\nLayouts:\n${kinds()}\n\nExamples:\n  iommu-lab decode ats-cap 0f 00 01 00 10 00 00 80\n  iommu-lab decode dmar @/sys/firmware/acpi/tables/DMAR\n  iommu-lab decode ste 0x0000000000000009 0x0 0x0 0x0 0x0 0x0 0x0 0x0`,
    )
    .action((kind: string, hex: readonly string[], flags: Flags) => {
      const codec = layoutNamed(kind);
      const file = fileOf(hex);
      const bytes = file === undefined ? bytesOfHex(hex.join(" ")) : readBytes(file);
      const decoded = codec.decode(bytes, file);
      const text = flags.format === "json" ? asJson(kind, bytes, decoded) : asText(decoded, flags.all === true);
      emit(text, flags.output);
    });
  program
    .command("encode")
    .description("make the bytes of a table entry, command, event or firmware table from its fields")
    .argument("<kind>", "which layout")
    .argument("<json>", "the fields as decode prints them (absent = zero), or @FILE, or @- for standard input")
    .addOption(formatOption())
    .option("-o, --output <file>", "write to a file")
    .addHelpText(
      "after",
      () =>
        `\nLayouts:\n${kinds()}\n\nExamples:\n  iommu-lab decode -f json ste 0x9 0 0 0 0 0 0 0 > ste.json\n  iommu-lab encode ste @ste.json`,
    )
    .action((kind: string, json: string, flags: Flags) => {
      const codec = layoutNamed(kind);
      const file = json.startsWith("@") ? json.slice(1) : undefined;
      const bytes = codec.encode(fieldsOf(kind, file === undefined ? json : readText(file), file));
      const text = flags.format === "json" ? asJson(kind, bytes, codec.decode(bytes)) : `${pairs(bytes).join(" ")}\n`;
      emit(text, flags.output);
    });
}

function fileOf(words: readonly string[]): string | undefined {
  const [first = ""] = words;
  return words.length === 1 && first.startsWith("@") ? first.slice(1) : undefined;
}

/** The fields in a JSON text: an object of them, or a whole document as `decode --format json` prints it. */
function fieldsOf(kind: string, text: string, file: string | undefined): LayoutFields {
  const at = file === undefined ? {} : { file };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`no JSON: ${error instanceof Error ? error.message : String(error)}`, at);
  }
  const fields = isObject(value) && "fields" in value && isObject(value.fields) ? value.fields : value;
  if (!isObject(fields)) {
    throw new InputError(`expected an object of fields such as {"valid": true}`, at);
  }
  return layoutFields(fields, kind);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function pairs(bytes: Uint8Array): string[] {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
}

/** A decoded layout as a JSON document. */
export function asJson(kind: string, bytes: Uint8Array, { fields, meaning }: DecodedLayout): string {
  const document = { schema: "iommu-lab/layout@1", kind, bytes: pairs(bytes).join(""), fields, meaning };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** A decoded layout for people: a line per field, then what it means. */
export function asText({ fields, meaning }: DecodedLayout, all: boolean): string {
  const every = linesOf(fields, "");
  const lines = all ? every : every.filter(([, value]) => value !== "0" && value !== "false");
  const hidden = every.length - lines.length;
  const rest = hidden === 0 ? "" : `(${hidden} fields are 0; --all shows them)\n`;
  const width = Math.max(0, ...lines.map(([name]) => name.length));
  const table = lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
  return meaning.length === 0 ? `${table}${rest}` : `${table}${rest}\n${meaning.map((one) => `${one}\n`).join("")}`;
}

function linesOf(value: LayoutValue, name: string): (readonly [name: string, text: string])[] {
  if (Array.isArray(value)) {
    const list = value as readonly LayoutValue[];
    return list.every((one) => typeof one === "number")
      ? [[name, list.map((one) => plain(one)).join(" ")]]
      : list.flatMap((one, index) => linesOf(one, `${name}[${index}]`));
  }
  if (typeof value === "object") {
    return Object.entries(value as LayoutFields).flatMap(([key, one]) =>
      linesOf(one, name === "" ? key : `${name}.${key}`),
    );
  }
  return [[name, plain(value)]];
}

function plain(value: LayoutValue): string {
  return typeof value === "number" && value > 9
    ? `0x${value.toString(16)} (${value})`
    : typeof value === "string"
      ? value
      : JSON.stringify(value);
}
