import type { AmdIommuOptions, DeviceTableEntry } from "@iommu-lab/amd-vi";
import { EMPTY_DTE, encodeFeatureRegisters } from "@iommu-lab/amd-vi";
import { describe, expect, test } from "vitest";
import { Machine, TRANSLATED } from "./machine.ts";

const PORT_IO = 0xfdfc000;
const MANAGEMENT = 0xfdf9100;
const ADDRESS_TRANSLATION = 0xfdfb000;
const HT_INTERRUPT = 0xfdf8000;
const RESERVED_INTERRUPT = 0xfd00000;
const CONFIGURATION = 0xfdfe000;

/** What became of a write, a read and a Translation Request: `pass`, or type (and TR) of INVALID_DEVICE_REQUEST. */
function fates(entry: Partial<DeviceTableEntry>, page: number, options: Partial<AmdIommuOptions> = {}): string[] {
  const machine = new Machine(options);
  machine.setDte({ ...TRANSLATED, iotlb: true, ...entry });
  return [machine.write, machine.read, machine.ask].map((send) => {
    const answer = send.call(machine, page);
    if (answer.status === "success") {
      return answer.page === page ? "pass" : "elsewhere";
    }
    const word = Number.parseInt(machine.log.at(-1)?.slice(9, 17) ?? "", 16);
    return `${(word & 0x1000000) === 0 ? "" : "TR "}${(word >>> 25) & 7}`;
  });
}

describe("port I/O", () => {
  test.each([
    ["IoCtl 0", { ioControl: 0 }, ["2", "2", "TR 1"]],
    ["IoCtl 1", { ioControl: 1 }, ["pass", "pass", "TR 1"]],
    ["IoCtl 2", { ioControl: 2 }, ["pass", "pass", "pass"]],
    ["IoCtl 2, TV=0", { ...EMPTY_DTE, valid: true, ioControl: 2 }, ["7", "7", "TR 1"]],
    ["V=0", EMPTY_DTE, ["pass", "pass", "TR 0"]],
  ])("%s", (_name, entry, expected) => {
    expect(fates(entry, PORT_IO)).toEqual(expected);
  });

  test("IoCtl 3 is reserved", () => {
    const machine = new Machine();
    machine.setDte({ ...TRANSLATED, ioControl: 3 });
    expect(machine.write(0).fault).toBe("ILLEGAL_DEV_TABLE_ENTRY");
  });
});

describe("system management", () => {
  test.each([
    ["SysMgt 0", { systemManagement: 0 }, ["3", "4", "TR 1"]],
    ["SysMgt 1", { systemManagement: 1 }, ["pass", "pass", "TR 1"]],
    ["SysMgt 2: INTx alone", { systemManagement: 2 }, ["3", "4", "TR 1"]],
    ["SysMgt 3", { systemManagement: 3 }, ["pass", "pass", "pass"]],
    ["SysMgt 3, TV=0", { ...EMPTY_DTE, valid: true, systemManagement: 3 }, ["7", "7", "TR 1"]],
  ])("%s", (_name, entry, expected) => {
    expect(fates(entry, MANAGEMENT)).toEqual(expected);
  });
});

describe("other ranges of HyperTransport", () => {
  test("address translation is memory unless HtAtsResv is set", () => {
    expect(fates({}, ADDRESS_TRANSLATION)).toEqual(["pass", "pass", "pass"]);
    expect(fates({}, ADDRESS_TRANSLATION, { htAtsResv: true })).toEqual(["3", "4", "TR 1"]);
  });

  test("interrupts, their reserved part, configuration", () => {
    expect(fates({ interruptValid: true }, HT_INTERRUPT)).toEqual(["5", "0", "TR 1"]);
    expect(fates({ interruptValid: true, interruptControl: 1 }, HT_INTERRUPT)[0]).toBe("pass");
    expect(fates({}, RESERVED_INTERRUPT)).toEqual(["6", "0", "TR 1"]);
    expect(fates({}, CONFIGURATION)).toEqual(["6", "0", "TR 1"]);
  });

  test("with HtRangeIgnore all of it is memory", () => {
    const [, efr2] = encodeFeatureRegisters({ htRangeIgnore: true });
    for (const page of [PORT_IO, MANAGEMENT, HT_INTERRUPT, RESERVED_INTERRUPT, CONFIGURATION]) {
      expect(fates({ interruptValid: true }, page, { efr2 })).toEqual(["pass", "pass", "pass"]);
    }
  });
});

describe("interrupt half of the DTE", () => {
  const MSI = 0xfee00;

  test.each([
    ["IntCtl 3", { interruptControl: 3 }],
    ["IntTabLen 12", { interruptControl: 2, interruptTableLength: 12 }],
  ])("%s is illegal for interrupts, and for them alone", (_name, entry) => {
    const machine = new Machine();
    machine.setDte({ ...TRANSLATED, interruptValid: true, ...entry });
    expect(machine.write(MSI).fault).toBe("ILLEGAL_DEV_TABLE_ENTRY");
    expect(machine.log).toEqual(["00003A00 10A80000 FEE00000 00000000"]);
    expect(machine.write(0x12345).status).toBe("success");
  });

  test("V counts for nothing there", () => {
    const machine = new Machine();
    machine.setDte({ ...EMPTY_DTE, interruptValid: true });
    expect([machine.write(MSI).status, machine.write(0x12345).status]).toEqual(["CA", "success"]);
  });
});
