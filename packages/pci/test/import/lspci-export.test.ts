import {
  ConfigSpace,
  type DescribedFunction,
  describedConfig,
  endpointConfig,
  formatLspciDump,
  inspectFunction,
  parseLspciDump,
  parseLspciVerbose,
  parseSysfsConfig,
  rootPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { lspci, missingLspci } from "./lspci.ts";
import { dumpCases, missingData } from "./third-party-data.ts";

const missing = missingData ?? missingLspci;

describe.skipIf(missing !== undefined)(`pciutils reads what is exported ${missing ?? ""}`, () => {
  test.each(dumpCases())("$name: the export decodes as the dump does", ({ text }) => {
    const exported = formatLspciDump(parseLspciDump(text).functions);
    expect(lspci(exported, "-vvv", "-n")).toBe(lspci(text, "-vvv", "-n"));
    expect(parseLspciDump(exported).functions).toHaveLength(parseLspciDump(text).functions.length);
  });

  test.each(dumpCases())("$name: registers that were live in between are exported as they were", ({ text }) => {
    const live = parseLspciDump(text).functions.map(({ bdf, bytes }) => ({
      bdf,
      bytes: new ConfigSpace(bytes).toBytes().slice(0, bytes.length),
    }));
    expect(lspci(formatLspciDump(live), "-vvv", "-n")).toBe(lspci(text, "-vvv", "-n"));
  });

  test.each(dumpCases())("$name: a function rebuilt from decoded text tells the same text fields", ({ text }) => {
    const { machine } = parseLspciVerbose(lspci(text, "-vvv", "-n"));
    const rebuilt = machine.devices.map((device) => ({ bdf: device.bdf, ...describedConfig(device) }));
    expect(rebuilt.flatMap(({ warnings }) => warnings)).toEqual([]);
    const again = parseLspciVerbose(lspci(formatLspciDump(rebuilt), "-vvv", "-n"));
    expect(again.machine.devices.map(facts)).toMatchObject(machine.devices.map(facts));
  });
});

/** A description without the details that `lspci` puts behind some names, from bytes that the text does not show. */
function facts(device: DescribedFunction): Partial<DescribedFunction> {
  const { title = "", subsystem, capabilities, ...rest } = device;
  expect(title).not.toBe("");
  return Object.assign(rest, device.bridge === undefined && subsystem !== undefined ? { subsystem } : {}, {
    capabilities: capabilities.map((capability) =>
      Object.assign({}, capability, { name: capability.name.replace(/[ :].*$/, "") }),
    ),
  });
}

const nic = endpointConfig({
  vendor: 0x8086,
  device: 0x1592,
  class: 0x020000,
  ats: { queueDepth: 32 },
  pasid: { width: 20 },
  pri: {},
});

describe("formatLspciDump", () => {
  test("writes what parseLspciDump reads", () => {
    const functions = [
      { bdf: "0000:00:01.0", header: "PCI bridge: Somebody", bytes: rootPortConfig({ secondary: 1, subordinate: 1 }) },
      { bdf: "0000:01:00.0", bytes: nic },
    ];
    const text = formatLspciDump(functions);
    expect(text.split("\n", 2)).toEqual([
      "00:01.0 PCI bridge: Somebody",
      "00: 36 1b 0c 00 06 00 10 00 00 00 04 06 00 00 01 00",
    ]);
    const read = parseLspciDump(text);
    expect(read.warnings).toEqual([]);
    expect(read.functions.map(({ bdf, header, bytes }) => [bdf, header, bytes])).toEqual([
      ["0000:00:01.0", "PCI bridge: Somebody", functions[0]?.bytes],
      ["0000:01:00.0", "Class 0200: Device 8086:1592", nic],
    ]);
  });

  test("writes domains where there is more than domain 0", () => {
    const text = formatLspciDump([
      { bdf: "0000:01:00.0", bytes: nic.slice(0, 64) },
      { bdf: "10000:e1:00.0", bytes: nic.slice(0, 64) },
    ]);
    expect(parseLspciDump(text).functions.map(({ bdf }) => bdf)).toEqual(["0000:01:00.0", "10000:e1:00.0"]);
    expect(text.startsWith("0000:01:00.0 Class 0200: Device 8086:1592\n")).toBe(true);
  });

  test("keeps a description on one line", () => {
    const text = formatLspciDump([{ bdf: "00:00.0", header: "a\n00: ff", bytes: nic.slice(0, 64) }]);
    expect(parseLspciDump(text).functions[0]?.header).toBe("a 00: ff");
  });
});

describe("parseSysfsConfig", () => {
  test.each([
    ["/sys/bus/pci/devices/0000:01:00.0/config", "0000:01:00.0"],
    ["/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.1/config", "0000:01:00.1"],
    ["10000:e1:00.0.config", "10000:e1:00.0"],
    ["dump-01:1f.7", "0000:01:1f.7"],
    ["dump-01:1F.7.bin", "0000:01:1f.7"],
  ])("%s is %s", (path, bdf) => {
    const found = parseSysfsConfig(path, nic);
    expect(found.bdf).toBe(bdf);
    expect(found.warnings).toEqual([]);
    expect(inspectFunction(found.bdf, found.bytes).ats?.invalidateQueueDepth).toBe(0);
  });

  test("64 bytes are what others than root see", () => {
    expect(parseSysfsConfig("01:00.0", nic.slice(0, 64)).warnings).toEqual([
      "0000:01:00.0 has its header only: sysfs shows the rest to root alone",
    ]);
    expect(parseSysfsConfig("01:00.0", nic.slice(0, 256)).warnings).toEqual([]);
    expect(parseSysfsConfig("01:00.0", nic.slice(0, 300)).warnings[0]).toContain("300 bytes");
  });

  test.each([
    ["config", 64, "the path names no function"],
    ["00:20.0", 64, "the path names no function"],
    ["00:01.0", 0, "config space of 0 bytes"],
    ["00:01.0", 4097, "config space of 4097 bytes"],
  ])("%s with %i bytes is refused", (path, count, message) => {
    expect(() => parseSysfsConfig(path, new Uint8Array(count))).toThrow(message);
  });
});
