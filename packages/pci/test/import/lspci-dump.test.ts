import { InputError } from "@iommu-lab/core";
import { endpointConfig, inspectFunction, parseLspciDump } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

/** As `lspci -xxxx` prints it. */
function dumpText(bdf: string, description: string, bytes: Uint8Array): string {
  const lines = [`${bdf}${description === "" ? "" : ` ${description}`}`];
  for (let offset = 0; offset < bytes.length; offset += 16) {
    const hex = Array.from(bytes.slice(offset, offset + 16), (byte) => byte.toString(16).padStart(2, "0"));
    lines.push(`${offset.toString(16).padStart(2, "0")}: ${hex.join(" ")}`);
  }
  return `${lines.join("\n")}\n`;
}

/** `count` lines of zeros from offset 0. */
function zeros(count: number): string {
  return Array.from(
    { length: count },
    (_, line) => `${(16 * line).toString(16).padStart(2, "0")}:${" 00".repeat(16)}`,
  ).join("\n");
}

const nic = endpointConfig({ vendor: 0x8086, device: 0x1592, class: 0x020000, ats: { queueDepth: 32 } });

describe("parseLspciDump", () => {
  test("functions with and without domain and description", () => {
    const text = [
      dumpText("00:1f.3", "Audio device: Somebody (rev 02)", nic.slice(0, 64)),
      dumpText("10000:e1:00.0", "", nic),
      dumpText("0001:02:03.4", "Class 0200", nic.slice(0, 256)),
    ].join("\n");
    const { functions, warnings } = parseLspciDump(text);
    expect(warnings).toEqual([]);
    expect(functions.map(({ bdf, header, line, bytes }) => [bdf, header, line, bytes.length])).toEqual([
      ["0000:00:1f.3", "Audio device: Somebody (rev 02)", 1, 64],
      ["10000:e1:00.0", undefined, 7, 4096],
      ["0001:02:03.4", "Class 0200", 265, 256],
    ]);
    expect(functions[1]?.bytes).toEqual(nic);
  });

  test("text in between, carriage returns, upper case, a byte order mark", () => {
    const text = `\u{feff}some remark\r\n\r\n${dumpText("00:1F.3", "Audio device", nic.slice(0, 64))
      .toUpperCase()
      .replace("DEVICE\n", "device\n\tSubsystem: Somebody\n\tCapabilities: [40] MSI\n")
      .replaceAll("\n", "\r\n")}`;
    const { functions, warnings } = parseLspciDump(text);
    expect(warnings).toEqual([]);
    expect(functions).toHaveLength(1);
    expect(functions[0]).toMatchObject({ bdf: "0000:00:1f.3", line: 3, bytes: nic.slice(0, 64) });
  });

  test("any bytes come back", () => {
    const sizes = fc
      .constantFrom(64, 256, 4096)
      .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
    fc.assert(
      fc.property(fc.nat({ max: 255 }), fc.nat({ max: 31 }), fc.nat({ max: 7 }), sizes, (bus, device, fn, bytes) => {
        const bdf = `${bus.toString(16).padStart(2, "0")}:${device.toString(16).padStart(2, "0")}.${fn}`;
        const { functions, warnings } = parseLspciDump(dumpText(bdf, "Something: odd [0200]", bytes));
        expect(warnings).toEqual([]);
        expect(functions).toHaveLength(1);
        expect(functions[0]?.bdf).toBe(`0000:${bdf}`);
        expect(Buffer.compare(functions[0]?.bytes ?? new Uint8Array(0), bytes)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });
});

describe("a damaged dump", () => {
  test.each([
    ["bad digits", `00:00.0 A\n${zeros(2)}\n20: 00 0g 00`, 'f:4: "0g" is not a byte'],
    ["digits run together", "00:00.0 A\n00: 8680 0000", 'f:2: "8680" is not a byte'],
    ["a jump", `00:00.0 A\n${zeros(2)}\n30: 00`, "f:4: offset 0x30 where 0x20 was expected"],
    ["a line twice", `00:00.0 A\n${zeros(2)}\n10: 00`, "f:4: offset 0x10 where 0x20 was expected"],
    ["a short line inside", "00:00.0 A\n00: 00 00\n10: 00", "f:3: offset 0x10 where 0x2 was expected"],
    [
      "a function twice",
      `00:00.0 A\n${zeros(4)}\n\n0000:00:00.0 A\n${zeros(4)}`,
      "f:7: function 0000:00:00.0 comes a second time, first on line 1",
    ],
    ["bytes first", "00: 00 00\n", "f:1: bytes without a function"],
    ["bytes after a blank line", `00:00.0 A\n\n${zeros(1)}`, "f:3: bytes without a function"],
    [
      "too many bytes",
      `00:00.0 A\n${zeros(256)}\n1000: 00`,
      "f:258: offset 0x1000: config space has at most 4096 bytes",
    ],
    ["more than 16 in a line", `00:00.0 A\n00:${" 00".repeat(17)}`, "f:2: too many bytes"],
    ["a line of no bytes", "00:00.0 A\n00:", "f:2: no bytes"],
    ["no such device", "00:20.0 A\n", "f:1: 00:20.0 is no function"],
    ["no such function", "00:00.8 A\n", "f:1: 00:00.8 is no function"],
    ["nothing", "", "f: no function with bytes found"],
    ["something else", "hello\nworld\n", "f: no function with bytes found"],
    ["a list without bytes", "00:00.0 Host bridge\n00:02.0 VGA\n", "f: no function with bytes found"],
  ])("%s", (_what, text, message) => {
    expect(() => parseLspciDump(text, "f")).toThrow(InputError);
    expect(() => parseLspciDump(text, "f")).toThrow(message);
  });

  test("the position is data as well", () => {
    expect(failureOf(() => parseLspciDump("00:00.0 A\n00: zz", "f"))).toMatchObject({
      position: { file: "f", line: 2 },
    });
  });

  test("that was cut off is read with a warning", () => {
    const { functions, warnings } = parseLspciDump(`00:00.0 A\n${zeros(2)}\n20: 00 00 00\n\n00:01.0 B\n`);
    expect(functions.map(({ bytes }) => bytes.length)).toEqual([35]);
    expect(warnings).toEqual([
      "line 1: 0000:00:00.0 has 35 bytes instead of 64, 256 or 4096: the dump seems cut off",
      "line 6: 0000:00:01.0 has no bytes and is left out",
    ]);
  });

  test("lines that are neither a function nor bytes are named, twenty of them", () => {
    const { warnings } = parseLspciDump(`00:00.0 A\n${zeros(4)}\n${"what is this\n".repeat(1000)}`);
    expect(warnings).toHaveLength(21);
    expect(warnings[0]).toBe('line 6: passed over: neither a function nor bytes: "what is this"');
    expect(warnings[20]).toBe("… and 980 more warnings");
  });

  test("what the dump lacks is not decoded", () => {
    const found = inspectFunction("0000:00:00.0", nic.slice(0, 0x106));
    expect(found.ats).toBeUndefined();
    expect(found.capabilities.at(-1)).toMatchObject({ name: "Address Translation Service (ATS)", offset: 0x100 });
    expect(inspectFunction("0000:00:00.0", nic.slice(0, 16)).warnings).toEqual(["only 16 bytes: the header has 64"]);
  });

  test("whatever is done to a dump, the answer is functions or an InputError", () => {
    const good = `${dumpText("00:1f.3", "Audio device", nic.slice(0, 256))}\n${dumpText("01:00.0", "", nic.slice(0, 64))}`;
    const damage = fc.record({
      at: fc.nat({ max: good.length }),
      cut: fc.nat({ max: 40 }),
      insert: fc.string({ maxLength: 8 }),
    });
    fc.assert(
      fc.property(fc.array(damage, { maxLength: 4 }), (damages) => {
        const text = damages.reduce((so, { at, cut, insert }) => so.slice(0, at) + insert + so.slice(at + cut), good);
        readOrRefuse(text);
      }),
    );
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 400 }), readOrRefuse));
  });

  test("a line of a million spaces does not hang", () => {
    const started = performance.now();
    readOrRefuse(`00:00.0${" ".repeat(1_000_000)}`);
    readOrRefuse(`00:00.0 A\n00:${" ".repeat(1_000_000)}x`);
    readOrRefuse(`${"0".repeat(1_000_000)}:00`);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

/** What `action` throws, or undefined. */
function failureOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Parses and inspects; anything but an InputError is a failure. */
function readOrRefuse(text: string): void {
  const failure = failureOf(() => parseLspciDump(text).functions.map(({ bdf, bytes }) => inspectFunction(bdf, bytes)));
  expect(failure instanceof InputError ? undefined : failure).toBeUndefined();
}
