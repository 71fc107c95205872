import type { DeviceTableEntry, OpenPoints } from "@iommu-lab/amd-vi";
import { EMPTY_DTE, amdV1, defaultOpenPoints, encodeFeatures, invalidateDevtabEntry } from "@iommu-lab/amd-vi";
import { DEVICE_TABLE_BASE, EXCLUSION_BASE, EXCLUSION_LIMIT } from "../registers.ts";
import { AT_TRANSLATION_REQUEST, NO_PASID, REQUEST_PRIVILEGED, REQUEST_WRITE } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, RID, RW, TRANSLATED } from "./machine.ts";

const PAGE = 0x12345;
const HOST = 0x2000;
const NOT_MAPPED = 0x54321;

/** What became of each request: where it went, or which event there is of it. */
interface Fates {
  readonly write: string;
  readonly ask: string;
  readonly translated: string;
}

function fates(machine: Machine, page: number = PAGE): Fates {
  const name = (answer: { status: string; page: number; fault: string; recorded: boolean }): string =>
    answer.status === "success"
      ? `0x${answer.page.toString(16)}`
      : `${answer.status} ${answer.fault}${answer.recorded ? "" : " unrecorded"}`;
  const ask = machine.ask(page);
  const rights = ask.status === "success" ? `${name(ask)} ${ask.read ? "R" : "-"}${ask.write ? "W" : "-"}` : name(ask);
  return { write: name(machine.write(page)), ask: rights, translated: name(machine.translated(0x3000)) };
}

function machineWith(entry: Partial<DeviceTableEntry>, open: Partial<OpenPoints> = {}): Machine {
  const machine = new Machine({ open: { ...defaultOpenPoints, ...open } });
  const table = machine.table(amdV1, PAGE, HOST);
  machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root, ...entry });
  return machine;
}

describe("fate of the request classes", () => {
  test("V=0 lets Untranslated requests through, and only those", () => {
    const machine = new Machine();
    expect(fates(machine)).toEqual({
      write: "0x12345",
      ask: "CA INVALID_DEVICE_REQUEST",
      translated: "CA INVALID_DEVICE_REQUEST",
    });
    expect(machine.log).toEqual(["00003A00 81000000 12345000 00000000", "00003A00 82000000 03000000 00000000"]);
  });

  test("BLOCKED, V=1 TV=0 I=0: nothing passes", () => {
    const machine = machineWith({ ...EMPTY_DTE, valid: true });
    expect(fates(machine)).toEqual({
      write: "CA IO_PAGE_FAULT",
      ask: "CA INVALID_DEVICE_REQUEST",
      translated: "CA INVALID_DEVICE_REQUEST",
    });
    expect(machine.log).toEqual([
      "00003A00 81000000 12345000 00000000",
      "00003A00 20200000 12345000 00000000",
      "00003A00 82000000 03000000 00000000",
    ]);
  });

  test("TV=0 but I=1 lets Translated requests through", () => {
    expect(fates(machineWith({ ...EMPTY_DTE, valid: true, iotlb: true }))).toEqual({
      write: "CA IO_PAGE_FAULT",
      ask: "CA INVALID_DEVICE_REQUEST",
      translated: "0x3000",
    });
  });

  test("boot, V=1 TV=1 without permission: refused with PE", () => {
    const machine = machineWith({ ...EMPTY_DTE, valid: true, translationValid: true });
    expect(fates(machine).write).toBe("CA IO_PAGE_FAULT");
    expect(machine.log[1]).toBe("00003A00 20700000 12345000 00000000");
  });

  test("identity without ATS", () => {
    expect(fates(machineWith({ mode: 0, hostRoot: 0 }))).toEqual({
      write: "0x12345",
      ask: "CA INVALID_DEVICE_REQUEST",
      translated: "CA INVALID_DEVICE_REQUEST",
    });
  });

  test("identity with ATS", () => {
    expect(fates(machineWith({ mode: 0, hostRoot: 0, iotlb: true }))).toEqual({
      write: "0x12345",
      ask: "0x12345 RW",
      translated: "0x3000",
    });
  });

  test("identity, read permission alone", () => {
    expect(fates(machineWith({ mode: 0, hostRoot: 0, iotlb: true, write: false }))).toEqual({
      write: "CA IO_PAGE_FAULT",
      ask: "0x12345 R-",
      translated: "0x3000",
    });
  });

  test("host table without ATS", () => {
    expect(fates(machineWith({}))).toEqual({
      write: "0x2000",
      ask: "CA INVALID_DEVICE_REQUEST",
      translated: "CA INVALID_DEVICE_REQUEST",
    });
  });

  test("host table with ATS", () => {
    expect(fates(machineWith({ iotlb: true }))).toEqual({ write: "0x2000", ask: "0x2000 RW", translated: "0x3000" });
  });

  test("not present: a Translation Request succeeds without permission and without event", () => {
    const machine = machineWith({ iotlb: true });
    expect(fates(machine, NOT_MAPPED)).toEqual({
      write: "CA IO_PAGE_FAULT",
      ask: "0x54321 --",
      translated: "0x3000",
    });
    expect(machine.log).toEqual(["00003A00 20200012 54321000 00000000"]);
  });

  test("IommuEn=0: everything passes but Translation Requests", () => {
    const machine = machineWith({ iotlb: true });
    machine.clear("IommuEn");
    expect(fates(machine)).toEqual({ write: "0x12345", ask: "UR IommuEn=0 unrecorded", translated: "0x3000" });
  });

  test("a reserved bit in the DTE", () => {
    const machine = new Machine();
    machine.setDte(Uint32Array.of(0x0000000b, 0x60000000, 0x12, 1, 0, 0, 0, 0));
    expect(fates(machine)).toEqual({
      write: "CA ILLEGAL_DEV_TABLE_ENTRY",
      ask: "CA ILLEGAL_DEV_TABLE_ENTRY",
      translated: "CA ILLEGAL_DEV_TABLE_ENTRY",
    });
    expect(machine.log[1]).toBe("00003A00 10A00000 12345000 00000000");
  });

  test("a device beyond the table, and a table outside memory", () => {
    const machine = new Machine();
    machine.unit.write64(DEVICE_TABLE_BASE, machine.deviceTable, 0);
    expect(fates(machine)).toEqual({
      write: "CA IO_PAGE_FAULT",
      ask: "CA INVALID_DEVICE_REQUEST",
      translated: "CA IO_PAGE_FAULT",
    });
    machine.unit.translate(RID, NO_PASID, PAGE, 0, AT_TRANSLATION_REQUEST | REQUEST_WRITE);
    expect(machine.log.at(-1)).toBe("00003A00 81000000 12345000 00000000");
    machine.unit.write64(DEVICE_TABLE_BASE, 0x1ff, 0);
    expect(fates(machine).write).toBe("CA DEV_TAB_HARDWARE_ERROR");
    expect(machine.log.at(-2)).toBe("00003A00 32200000 00074000 00000000");
  });

  test("a page table outside memory", () => {
    const machine = machineWith({ iotlb: true, hostRoot: 0x2000 });
    expect(fates(machine)).toEqual({
      write: "CA PAGE_TAB_HARDWARE_ERROR",
      ask: "CA PAGE_TAB_HARDWARE_ERROR",
      translated: "0x3000",
    });
    expect(machine.log).toEqual(["00003A00 43000000 00002000 00000000", "00003A00 42200000 00002000 00000000"]);
  });

  test("no events for a unit whose log is off", () => {
    const machine = machineWith({ ...EMPTY_DTE, valid: true });
    machine.clear("EventLogEn");
    expect(fates(machine).write).toBe("CA IO_PAGE_FAULT unrecorded");
    expect(machine.log).toEqual([]);
  });
});

describe("SA and SE", () => {
  test("SA: refused without event", () => {
    const machine = machineWith({ suppressAll: true });
    expect(machine.write(NOT_MAPPED)).toMatchObject({ status: "CA", recorded: false });
  });

  test("SE: the first alone, until the DTE is fetched again", () => {
    const machine = machineWith({ suppressFurther: true });
    expect([1, 2].map(() => machine.write(NOT_MAPPED).recorded)).toEqual([true, false]);
    machine.submit(invalidateDevtabEntry(RID));
    expect(machine.write(NOT_MAPPED).recorded).toBe(true);
  });
});

describe("interrupt range", () => {
  const MSI = 0xfee00;

  test.each([
    ["IV=0", {}, "success"],
    ["IntCtl=0", { interruptValid: true }, "CA"],
    ["IntCtl=1", { interruptValid: true, interruptControl: 1 }, "success"],
    ["IntCtl=2", { interruptValid: true, interruptControl: 2 }, "success"],
    ["IntCtl=3", { interruptValid: true, interruptControl: 3 }, "CA"],
  ])("%s", (_name, entry, status) => {
    expect(machineWith({ ...EMPTY_DTE, valid: true, ...entry }).write(MSI).status).toBe(status);
  });

  test("reads and Translation Requests are refused, Translated writes are interrupts", () => {
    const machine = machineWith({ iotlb: true });
    expect(machine.read(MSI)).toMatchObject({ status: "CA", fault: "INVALID_DEVICE_REQUEST" });
    expect(machine.ask(MSI)).toMatchObject({ status: "CA", fault: "INVALID_DEVICE_REQUEST" });
    expect(machine.translated(MSI).status).toBe("success");
    expect(machine.log).toEqual(["00003A00 80000000 FEE00000 00000000", "00003A00 83000000 FEE00000 00000000"]);
  });

  test("with a PASID the address is like any other", () => {
    expect(machineWith({ iotlb: true }).write(MSI, 1)).toMatchObject({ status: "CA", fault: "IO_PAGE_FAULT" });
  });
});

describe("exclusion range", () => {
  test("passes untranslated; a translation of it is for Untranslated requests alone", () => {
    const machine = machineWith({ exclusion: true, iotlb: true });
    machine.unit.write64(EXCLUSION_BASE, (NOT_MAPPED * 4096) | 1, 0);
    machine.unit.write64(EXCLUSION_LIMIT, NOT_MAPPED * 4096, 0);
    expect(machine.write(NOT_MAPPED)).toMatchObject({ status: "success", page: NOT_MAPPED });
    expect(machine.ask(NOT_MAPPED)).toMatchObject({ status: "success", untranslatedOnly: true });
    expect(machine.write(NOT_MAPPED + 1).status).toBe("CA");
  });

  test("devices without EX are translated unless Allow is set", () => {
    const machine = machineWith({});
    machine.unit.write64(EXCLUSION_BASE, (PAGE * 4096) | 1, 0);
    machine.unit.write64(EXCLUSION_LIMIT, PAGE * 4096, 0);
    expect(machine.write(PAGE).page).toBe(HOST);
    machine.unit.write64(EXCLUSION_BASE, (PAGE * 4096) | 3, 0);
    expect(machine.write(PAGE).page).toBe(PAGE);
  });
});

describe("where sources disagree", () => {
  const blocked = { ...EMPTY_DTE, valid: true };

  test("the event of TV=0", () => {
    const answer = machineWith(blocked, { blockedEvent: "none" }).write(PAGE);
    expect(answer).toMatchObject({ status: "CA", recorded: false });
  });

  test("Translated requests with TV=0 and I=1", () => {
    const machine = machineWith({ ...blocked, iotlb: true }, { translatedWhileBlocked: "abort" });
    expect(machine.translated(0x3000)).toMatchObject({ status: "CA", fault: "INVALID_DEVICE_REQUEST" });
  });

  test("Mode 0 without permission", () => {
    const boot = { ...blocked, translationValid: true };
    expect(machineWith(boot, { identityPermission: "none" }).write(PAGE)).toMatchObject({
      status: "CA",
      recorded: false,
    });
    expect(machineWith(boot, { identityPermission: "ignored" }).write(PAGE).status).toBe("success");
  });

  test("Mode beyond HATS", () => {
    const fate = (choice: OpenPoints["modeBeyondHats"]): unknown =>
      machineWith({ mode: 7, iotlb: true }, { modeBeyondHats: choice }).write(PAGE);
    expect(fate("ILLEGAL_DEV_TABLE_ENTRY")).toMatchObject({ fault: "ILLEGAL_DEV_TABLE_ENTRY", recorded: true });
    expect(fate("IO_PAGE_FAULT")).toMatchObject({ fault: "IO_PAGE_FAULT", recorded: true });
    expect(fate("none")).toMatchObject({ status: "CA", recorded: false });
    const four = new Machine({ efr: encodeFeatures({ hostLevels: 4 }) });
    four.setDte({ ...TRANSLATED, mode: 5 });
    expect(four.write(PAGE).fault).toBe("ILLEGAL_DEV_TABLE_ENTRY");
  });

  test("requests with PASID without guest translation", () => {
    const machine = machineWith({ iotlb: true });
    expect(machine.write(PAGE, 5)).toMatchObject({ status: "CA", fault: "IO_PAGE_FAULT" });
    expect(machine.ask(PAGE, 5)).toMatchObject({ status: "CA", fault: "INVALID_DEVICE_REQUEST" });
    expect(machine.log[0]).toBe("00003A00 20210005 12345000 00000000");
    expect(machineWith({ iotlb: true }, { pasidWithoutGuest: "host" }).write(PAGE, 5).page).toBe(HOST);
  });
});

describe("what the answer to a Translation Request carries", () => {
  test("FC as N, and the privilege that was asked for", () => {
    const machine = machineWith({ iotlb: true });
    expect(machine.ask(PAGE)).toMatchObject({ noSnoop: true, privileged: false, execute: false, global: false });
    expect(machine.unit.translate(RID, NO_PASID, PAGE, 0, 1 | REQUEST_PRIVILEGED).privileged).toBe(false);
  });

  test("read permission alone", () => {
    const machine = new Machine();
    const table = machine.table(amdV1, PAGE, HOST, RW & ~2);
    machine.setDte({ ...TRANSLATED, mode: 3, hostRoot: table.root, iotlb: true });
    expect(machine.ask(PAGE)).toMatchObject({ read: true, write: false, page: HOST });
    expect(machine.unit.translate(RID, NO_PASID, PAGE, 0x10, REQUEST_WRITE)).toMatchObject({ fault: "IO_PAGE_FAULT" });
    expect(machine.log).toEqual(["00003A00 20700012 12345010 00000000"]);
  });
});
