import type { IvhdEntry, IvrsBlock, IvrsTable } from "@iommu-lab/amd-vi";
import { decodeIvrs, encodeIvrs, linuxIvrs, targetIvhdType } from "@iommu-lab/amd-vi";
import { InputError } from "@iommu-lab/core";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

/** One field as the independent tool prints it. */
interface Printed {
  readonly offset: number;
  readonly length: number;
  readonly name: string;
  readonly value: string;
}

interface Answer {
  readonly checksumValid: boolean;
  readonly length: number;
  readonly structures: readonly (readonly Printed[])[];
}

const top = path.resolve(import.meta.dirname, "..", "..", "..", "..");
const data = process.env["IOMMU_LAB_DATA"] ?? path.resolve(top, "..", "shared", "data");
const folder = path.join(data, "acpi", "ivrs");
const names = existsSync(folder)
  ? readdirSync(folder)
      .filter((name) => name.endsWith(".bin"))
      .map((name) => name.slice(0, -4))
  : [];
const load = (name: string): Uint8Array => new Uint8Array(readFileSync(path.join(folder, `${name}.bin`)));

const hex = (value: number | bigint, bytes: number): string =>
  value
    .toString(16)
    .toUpperCase()
    .padStart(bytes * 2, "0");

/** Fields by offset, as hexadecimal digits or text. */
type Fields = Map<number, string>;

function entryFields(entry: IvhdEntry): Fields {
  const { offset } = entry;
  const fields: Fields = new Map([
    [offset, hex(entry.type, 1)],
    [offset + 1, hex(entry.deviceId, 2)],
    [offset + 3, hex(entry.setting, 1)],
  ]);
  if (entry.kind === "alias") {
    fields.set(offset + 4, hex(entry.reserved, 1));
    fields.set(offset + 5, hex(entry.sourceId, 2));
    fields.set(offset + 7, hex(entry.reserved2, 1));
  } else if (entry.kind === "extended") {
    fields.set(offset + 4, hex(entry.extended, 4));
  } else if (entry.kind === "special") {
    fields.set(offset + 4, hex(entry.handle, 1));
    fields.set(offset + 5, hex(entry.sourceId, 2));
    fields.set(offset + 7, hex(entry.variety, 1));
  } else if (entry.kind === "acpiHid") {
    fields.set(offset + 4, JSON.stringify(entry.hid));
    fields.set(offset + 12, entry.cid === "" ? hex(0, 8) : JSON.stringify(entry.cid));
    if (entry.uidFormat !== 0) {
      // The tool prints nothing of a unique ID that is not there.
      fields.set(offset + 20, hex(entry.uidFormat, 1));
      fields.set(offset + 21, hex(entry.uid.length, 1));
      fields.set(offset + 22, `"${String.fromCharCode(...entry.uid)}"`);
    }
  }
  return fields;
}

function blockFields(block: IvrsBlock): Fields[] {
  const { offset } = block;
  const fields: Fields = new Map([
    [offset, hex(block.type, 1)],
    [offset + 1, hex(block.flags, 1)],
    [offset + 2, hex(block.length, 2)],
  ]);
  if (block.kind === "unknown") {
    return [];
  }
  fields.set(offset + 4, hex(block.deviceId, 2));
  if (block.kind === "ivmd") {
    fields.set(offset + 6, hex(block.auxiliary, 2));
    fields.set(offset + 8, hex(block.reserved, 8));
    fields.set(offset + 16, hex(block.start, 8));
    fields.set(offset + 24, hex(block.memoryLength, 8));
    return [fields];
  }
  fields.set(offset + 6, hex(block.capabilityOffset, 2));
  fields.set(offset + 8, hex(block.base, 8));
  fields.set(offset + 16, hex(block.segment, 2));
  fields.set(offset + 18, hex(block.info, 2));
  fields.set(offset + 20, hex(block.features, 4));
  if (block.type !== 0x10) {
    fields.set(offset + 24, hex(block.efr, 8));
    fields.set(offset + 32, hex(block.efr2, 8));
  }
  return [fields, ...block.entries.map((entry) => entryFields(entry))];
}

function fieldsOf(table: IvrsTable): Fields[] {
  const { header } = table;
  return [
    new Map([
      [0, header.signature],
      [4, hex(header.length, 4)],
      [8, hex(header.revision, 1)],
      [9, hex(header.checksum, 1)],
      [10, header.oemId],
      [16, header.oemTableId],
      [24, hex(header.oemRevision, 4)],
      [28, header.creatorId],
      [32, hex(header.creatorRevision, 4)],
    ]),
    new Map([
      [36, hex(table.info, 4)],
      [40, hex(table.reserved, 8)],
    ]),
    ...table.blocks.flatMap((block) => blockFields(block)),
  ];
}

/** What the tool prints of a field, without its name of the value. */
function printed({ value, length, offset }: Printed): string {
  const text = /^"([^"]*)"/u.exec(value);
  if (text !== null && offset < 36) {
    return text[1] ?? "";
  }
  return text === null ? value.slice(0, length * 2) : `"${text[1] ?? ""}"`;
}

describe.skipIf(names.length === 0)("tables of real machines", () => {
  test.each(names)("%s: every field is what iasl prints", (name) => {
    const answer = JSON.parse(
      readFileSync(path.join(data, "expected", "acpi", "ivrs", `${name}.json`), "utf8"),
    ) as Answer;
    const table = decodeIvrs(load(name), name);
    const ours = fieldsOf(table).map((fields) => Object.fromEntries(fields));
    const theirs = answer.structures.map((one) =>
      Object.fromEntries(one.map((field) => [field.offset, printed(field)])),
    );
    expect(ours).toEqual(theirs);
    expect([table.header.checksumValid, table.header.length]).toEqual([answer.checksumValid, answer.length]);
    const unknown = table.blocks.filter(({ kind }) => kind === "unknown");
    expect(table.warnings.length).toBe(unknown.length + (answer.checksumValid ? 0 : 1));
  });

  test.each(names)("%s: comes back byte for byte", (name) => {
    const bytes = load(name);
    const table = decodeIvrs(bytes);
    expect(Buffer.from(encodeIvrs(table)).toString("hex")).toBe(Buffer.from(bytes).toString("hex"));
  });

  test.each(names)("%s: every truncation is an InputError with an offset", (name) => {
    const bytes = load(name);
    for (let length = 0; length < bytes.length; length += 7) {
      const cut = bytes.slice(0, length);
      expect(() => decodeIvrs(cut, name)).toThrow(InputError);
    }
  });

  test("Linux uses the highest block of the first unit", () => {
    const types = Object.fromEntries(names.map((name) => [name, targetIvhdType(decodeIvrs(load(name)))]));
    expect(types).toMatchObject({
      "lenovo-thinkpad-t14-gen-3-21cf004pge-696e48": 0x40,
      "mechrevo-wujie14xa-9249a3": 0x40,
      "gigabyte-990xa-ud3-16d86a": 0x10,
      "asustek-prime-x399-a-73edb0": 0x11,
      "qemu-x86-q35-ivrs-ivrs": 0x11,
    });
  });

  test("two units and their devices", () => {
    const view = linuxIvrs(decodeIvrs(load("asustek-prime-x399-a-73edb0")));
    expect(view.units.map(({ deviceId, base }) => [deviceId, base > 0])).toEqual([
      [0x0002, true],
      [0x4002, true],
    ]);
    expect(view.units.every(({ devices }) => devices.length > 0)).toBe(true);
  });

  test("reserved memory: an exclusion range is mapped 1:1 for reads and writes", () => {
    const view = linuxIvrs(decodeIvrs(load("lenovo-thinkpad-t14-gen-3-21cf004pge-696e48")));
    const rights = { read: true, write: true };
    expect(view.unityMaps).toMatchObject([{ first: 0x300, last: 0x300, count: 0x26, ...rights }]);
    expect(view.acpiDevices[0]).toEqual({ hid: "AMDI0020", uid: String.raw`\_SB.FUR0`, rid: 0xa5 });
    expect(view.specialDevices).toHaveLength(3);
    expect(view.aliases[0]).toEqual({ rid: 0xff00, alias: 0xa5 });
    expect([view.lastDeviceId, view.refusal]).toEqual([0xffff, ""]);
  });
});

const ivhd = Uint8Array.from(
  Buffer.from(
    "1130380002004000000020fd0000000000000000000000 00fa4a25a2ef776524000000000000000003030000 04feff00480000d720a00001".replaceAll(
      " ",
      "",
    ),
    "hex",
  ),
);
const ivmd = Uint8Array.from(Buffer.from("220720000003ff0300000000000000000000009b000000000000010000000000", "hex"));

/** A table around blocks, with a valid checksum. */
function tableOf(...blocks: readonly Uint8Array[]): Uint8Array {
  const head = encodeIvrs({ info: 0x203041, blocks: [] });
  const bytes = Uint8Array.from([head, ...blocks].flatMap((part) => Array.from(part)));
  new DataView(bytes.buffer).setUint32(4, bytes.length, true);
  bytes[9] = 0;
  bytes[9] = (256 - (bytes.reduce((sum, byte) => sum + byte, 0) % 256)) % 256;
  return bytes;
}

describe("fragments", () => {
  test("IVHD 11h with a range and an I/O APIC", () => {
    const bytes = tableOf(ivhd);
    const table = decodeIvrs(bytes);
    expect(table.blocks).toMatchObject([
      {
        kind: "ivhd",
        type: 0x11,
        flags: 0x30,
        length: 56,
        deviceId: 2,
        capabilityOffset: 0x40,
        base: 0xfd200000n,
        efr: 0x246577efa2254afan,
        entries: [
          { type: 3, deviceId: 3 },
          { type: 4, deviceId: 0xfffe },
          { kind: "special", setting: 0xd7, handle: 0x20, sourceId: 0xa0, variety: 1 },
        ],
      },
    ]);
    expect([...encodeIvrs(table)]).toEqual([...bytes]);
    const view = linuxIvrs(table, () => 7);
    expect(view.units).toEqual([
      {
        base: 0xfd200000,
        deviceId: 2,
        flags: 0x30,
        capability: 7,
        devices: [
          { first: 3, last: 0xfffe },
          { first: 0xa0, last: 0xa0 },
        ],
        efr: { efr: 0x246577efa2254afan, efr2: 0n },
        hostTranslationDisabled: false,
      },
    ]);
    expect([view.lastDeviceId, view.settings]).toEqual([0xfffe, [{ first: 0xa0, last: 0xa0, setting: 0xd7 }]]);
  });

  test("IVMD of a range", () => {
    const view = linuxIvrs(decodeIvrs(tableOf(ivhd, ivmd)));
    expect(view.unityMaps).toEqual([{ first: 0x300, last: 0x3ff, page: 0x9b000, count: 16, read: true, write: true }]);
  });

  test("a block of another type is skipped with a warning", () => {
    const table = decodeIvrs(tableOf(Uint8Array.of(0x51, 8, 6, 0, 1, 2), ivmd));
    expect(table.blocks.map(({ kind }) => kind)).toEqual(["unknown", "ivmd"]);
    expect(table.warnings).toEqual(["offset 0x30: block type 0x51 is not known and skipped"]);
  });

  test("type 10h when that is all there is: the registers tell the features", () => {
    const short = Uint8Array.of(
      0x10,
      0xb0,
      28,
      0,
      2,
      0,
      0x40,
      0,
      0,
      0,
      0x20,
      0xfd,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0x6f,
      0x8f,
      4,
      0x80,
      1,
      0,
      0,
      0,
    );
    const view = linuxIvrs(decodeIvrs(tableOf(short)));
    expect([view.targetType, view.units[0]?.efr, view.lastDeviceId]).toEqual([0x10, undefined, 0xffff]);
  });

  test("a memory block whose device is the unit itself spoils the choice", () => {
    const own = Uint8Array.from(ivmd);
    own[4] = 2;
    own[5] = 0;
    expect(targetIvhdType(decodeIvrs(tableOf(ivhd, own)))).toBe(0x22);
    expect(targetIvhdType(decodeIvrs(tableOf(ivhd, Uint8Array.of(0x51, 0, 4, 0), own)))).toBe(0x11);
  });
});

describe("damaged tables", () => {
  const patched = (at: number, ...values: readonly number[]): Uint8Array => {
    const bytes = tableOf(ivhd, ivmd);
    bytes.set(values, at);
    return bytes;
  };

  test.each([
    ["a block without length", patched(50, 0, 0), 50],
    ["a block that is too short for its type", patched(50, 20, 0), 50],
    ["a block beyond the end", patched(50, 0xff, 0xff), 50],
    ["an entry beyond its block", patched(96, 4, 0, 0, 0, 0x43), 100],
    ["an entry of a type without length", patched(88, 0x90), 88],
    ["a memory block that is too short", patched(106, 8, 0), 106],
    ["an ACPI device beyond its block", patched(96, 0xf0), 96],
  ])("%s", (_name, bytes, offset) => {
    const thrown = ((): unknown => {
      try {
        return decodeIvrs(bytes, "bad.bin");
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toBeInstanceOf(InputError);
    expect(thrown).toMatchObject({ position: { file: "bad.bin", offset } });
  });

  test("a wrong checksum is a warning, and Linux does without", () => {
    const table = decodeIvrs(patched(9, 0));
    expect(table.warnings).toHaveLength(1);
    expect(linuxIvrs(table).refusal).toContain("ENODEV");
  });

  test("a special device of unknown variety, a unit without devices", () => {
    const odd = Uint8Array.from(ivhd);
    odd[55] = 3;
    expect(linuxIvrs(decodeIvrs(tableOf(odd))).refusal).toContain("EINVAL");
    const none = Uint8Array.from(ivhd.slice(0, 40));
    none[2] = 40;
    expect(linuxIvrs(decodeIvrs(tableOf(none))).refusal).toContain("EINVAL");
  });

  test("random bytes are a table or an InputError, never anything else", () => {
    const bytes = fc.uint8Array({ minLength: 0, maxLength: 120 });
    fc.assert(
      fc.property(bytes, (noise) => {
        const table = tableOf(noise);
        try {
          const decoded = decodeIvrs(table);
          expect([...encodeIvrs(decoded)]).toEqual([...table]);
          linuxIvrs(decoded);
        } catch (error) {
          if (!(error instanceof InputError)) {
            throw error;
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
