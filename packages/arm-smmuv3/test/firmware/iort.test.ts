import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { InputError } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dataFolder } from "../../../../test/data-folder.ts";
import { iortCodec } from "../../src/firmware/iort-codec.ts";
import { ID_MAPPING, NODE_BODY, NODE_HEADER } from "../../src/firmware/iort-layout.ts";
import { type IortNode, decodeIort } from "../../src/firmware/iort.ts";

/** One line of `iasl -d`: values are hexadecimal without 0x, or a quoted text. */
interface Printed {
  readonly offset: number;
  readonly length: number;
  readonly name: string;
  readonly value: string;
}

interface Expected {
  readonly headerValid: boolean;
  readonly checksumValid: boolean;
  readonly structures?: readonly (readonly Printed[])[];
}

/** Lines about bytes that stand in another line, or that are nobody's. */
const NOT_FIELDS = new Set(["Memory Properties", "Padding"]);

function keyOf(offset: number, length: number): string {
  return `${offset}+${length}`;
}

function hexOf(value: number | bigint, length: number): string {
  return value
    .toString(16)
    .toUpperCase()
    .padStart(length * 2, "0");
}

function linesOf(
  fields: Readonly<Record<string, readonly [number, number]>>,
  values: object,
  at: number,
): [offset: number, text: string][] {
  return Object.entries(fields).map(([name, [offset, size]]) => {
    const value: unknown = Object.entries(values).find(([key]) => key === name)?.[1];
    return [at + offset, hexOf(value as number | bigint, size)];
  });
}

const TYPES = { itsGroup: 0, namedComponent: 1, rootComplex: 2, smmuV2: 3, smmuV3: 4, pmcg: 5, rmr: 6, unknown: -1 };

/** All that a decoded node says, as offset and hexadecimal text. */
function linesOfNode(node: IortNode): [offset: number, text: string][] {
  const at = node.offset;
  const lines = linesOf(NODE_HEADER, { ...node, type: TYPES[node.kind] }, at);
  if (node.kind !== "unknown") {
    lines.push(...linesOf(NODE_BODY[node.kind], node, at));
  }
  if (node.kind === "itsGroup") {
    lines.push(...node.identifiers.map((value, index): [number, string] => [at + 20 + index * 4, hexOf(value, 4)]));
  } else if (node.kind === "namedComponent") {
    lines.push([at + 29, `"${node.deviceName}"`]);
  } else if (node.kind === "smmuV2") {
    const { nsgIrpt, nsgIrptFlags, nsgCfgIrpt, nsgCfgIrptFlags } = node.globalInterrupts;
    const globals = [nsgIrpt, nsgIrptFlags, nsgCfgIrpt, nsgCfgIrptFlags];
    const list = (from: number, values: readonly (number | bigint)[], size: number): void => {
      lines.push(...values.map((value, index): [number, string] => [at + from + index * size, hexOf(value, size)]));
    };
    list(node.globalInterruptOffset, globals, 4);
    list(node.contextInterruptOffset, node.contextInterrupts, 8);
    list(node.pmuInterruptOffset, node.pmuInterrupts, 8);
  } else if (node.kind === "rmr") {
    for (const [index, one] of node.descriptors.entries()) {
      const from = at + node.rmrOffset + index * 20;
      lines.push(
        [from, hexOf(one.baseAddress, 8)],
        [from + 8, hexOf(one.length, 8)],
        [from + 16, hexOf(one.reserved, 4)],
      );
    }
  }
  for (const [index, mapping] of node.mappings.entries()) {
    lines.push(...linesOf(ID_MAPPING, mapping, at + node.mappingOffset + index * 20));
  }
  return lines;
}

const folder = dataFolder === undefined ? undefined : path.join(dataFolder, "acpi", "iort");
const files = folder === undefined ? [] : readdirSync(folder);

describe.skipIf(folder === undefined)("tables of real machines", () => {
  const read = (file: string): { bytes: Uint8Array; expected: Expected } => {
    const answer = path.join(dataFolder ?? "", "expected", "acpi", "iort", file.replace(".bin", ".json"));
    return {
      bytes: readFileSync(path.join(folder ?? "", file)),
      expected: JSON.parse(readFileSync(answer, "utf8")) as Expected,
    };
  };

  it("there are some", () => {
    expect(files.length).toBeGreaterThan(15);
  });

  it.each(files)("%s: every field as iasl prints it", (file) => {
    const { bytes, expected } = read(file);
    if (!expected.headerValid) {
      expect(() => decodeIort(bytes, file)).toThrow(`${file}:offset 0x0: signature is "../.", expected "IORT"`);
      return;
    }
    const table = decodeIort(bytes, file);
    const { header } = table;
    expect(header.checksumValid).toBe(expected.checksumValid);
    const lines: readonly [offset: number, text: string][] = [
      [4, hexOf(header.length, 4)],
      [8, hexOf(header.revision, 1)],
      [9, hexOf(header.checksum, 1)],
      [24, hexOf(header.oemRevision, 4)],
      [32, hexOf(header.creatorRevision, 4)],
      [36, hexOf(table.nodes.length, 4)],
      [40, hexOf(table.nodeOffset, 4)],
      [44, hexOf(table.reserved, 4)],
      ...table.nodes.flatMap(linesOfNode),
    ];
    // Structures may overlap: old root complexes end where the newer ones have three fields more.
    const found = new Map(
      lines.map(([offset, text]) => [keyOf(offset, text.startsWith('"') ? 0 : text.length / 2), text]),
    );
    const texts = new Map([
      ["Signature", `"${header.signature}"`],
      ["Oem ID", `"${header.oemId.padEnd(6)}"`],
      ["Oem Table ID", `"${header.oemTableId.padEnd(8)}"`],
      ["Asl Compiler ID", `"${header.creatorId.padEnd(4)}"`],
    ]);
    const printed = (expected.structures ?? []).flat().filter(({ name }) => !NOT_FIELDS.has(name));
    expect(printed.length).toBeGreaterThan(20);
    const ours = printed.map(
      ({ offset, length, name }) =>
        `${offset} ${name} ${texts.get(name) ?? found.get(keyOf(offset, length)) ?? found.get(keyOf(offset, 0)) ?? "absent"}`,
    );
    const theirs = printed.map(
      ({ offset, name, value }) => `${offset} ${name} ${/^(?:"[^"]*"|[\dA-F]+)/.exec(value)?.[0]}`,
    );
    expect(ours).toEqual(theirs);
    // And nothing that iasl does not see.
    const seen = new Set(printed.map(({ offset, length, value }) => keyOf(offset, value.startsWith('"') ? 0 : length)));
    expect([...found.keys()].filter((key) => !seen.has(key))).toEqual([]);
  });

  it.each(files)("%s: encodes to the same bytes", (file) => {
    const { bytes, expected } = read(file);
    if (expected.headerValid) {
      const { fields } = iortCodec.decode(bytes, file);
      expect(iortCodec.encode(fields)).toEqual(new Uint8Array(bytes));
      // What is written down in JSON and read again is the same too.
      expect(iortCodec.encode(JSON.parse(JSON.stringify(fields)) as typeof fields)).toEqual(new Uint8Array(bytes));
    }
  });

  it("no damage leads to anything but a table or an error with its place", () => {
    const good = files.filter((file) => read(file).expected.headerValid).map((file) => read(file).bytes);
    fc.assert(
      fc.property(
        fc.constantFrom(...good),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
        fc.option(fc.nat(), { nil: undefined }),
        (bytes, changes, cut) => {
          const damaged = new Uint8Array(cut === undefined ? bytes : bytes.subarray(0, cut % bytes.length));
          for (const [at, value] of changes) {
            damaged[at % Math.max(1, damaged.length)] = value;
          }
          let fields: ReturnType<typeof iortCodec.decode>["fields"];
          try {
            ({ fields } = iortCodec.decode(damaged, "damaged"));
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
            expect((error as InputError).position.offset).toBeTypeOf("number");
            return;
          }
          const length = new DataView(damaged.buffer).getUint32(4, true);
          expect(iortCodec.encode(fields)).toEqual(damaged.subarray(0, length));
        },
      ),
      { numRuns: 300, seed: 7 },
    );
  });
});

describe("a table that would be larger than any", () => {
  it("is refused before it is made", () => {
    const node = { kind: "rootComplex", revision: 3, offset: 16_000_000 };
    expect(() => iortCodec.encode({ nodes: [node] })).toThrow(InputError);
    expect(() => iortCodec.encode({ nodes: [node] })).toThrow("expected at most 1048576");
  });
});
