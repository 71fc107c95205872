import { PROT_READ, PROT_WRITE, PageTable } from "@iommu-lab/core";
import type { ContextEntry } from "@iommu-lab/intel-vtd";
import { decodeFaultRecord, encodeContextEntry, secondStage } from "@iommu-lab/intel-vtd";
import type { TranslateResult } from "@iommu-lab/pci";
import {
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_NO_WRITE,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, SID } from "./machine.ts";
import { FSTS, TTM_ABORT, TTM_LEGACY } from "../registers.ts";

const RW = PROT_READ | PROT_WRITE;
const PAGE = 0x1234;
const TARGET = 0x40a00;

interface Setup extends Partial<ContextEntry> {
  readonly prot?: number;
  readonly on?: boolean;
  readonly mode?: number;
}

function setUp(setup: Setup = {}): Machine {
  const machine = new Machine();
  const table = new PageTable(machine.memory, secondStage(4), "test", "table");
  table.map(PAGE, TARGET, 1, setup.prot ?? RW);
  const contexts = machine.page();
  machine.store(
    contexts + (SID & 0xff) * 16,
    encodeContextEntry({
      present: setup.present ?? true,
      faultDisable: setup.faultDisable ?? false,
      translationType: setup.translationType ?? 0,
      pageTable: setup.translationType === 2 ? 0 : (setup.pageTable ?? table.root),
      addressWidth: setup.addressWidth ?? 2,
      domainId: setup.domainId ?? 5,
    }),
  );
  if (setup.on ?? true) {
    machine.translateWith(machine.legacyRoot(contexts), setup.mode ?? TTM_LEGACY);
  }
  return machine;
}

function ask(machine: Machine, type: number, options: { pasid?: number; page?: number; flags?: number } = {}): string {
  const result = machine.unit.translate(
    SID,
    options.pasid ?? NO_PASID,
    options.page ?? PAGE,
    0,
    type | (options.flags ?? 0),
  );
  return verdict(result);
}

function verdict(result: TranslateResult): string {
  if (result.status !== "success") {
    return `${result.status} ${result.fault.split(" ")[0]}`;
  }
  return `${result.read ? "R" : "-"}${result.write ? "W" : "-"} 0x${result.page.toString(16)}`;
}

const classes = [
  [AT_UNTRANSLATED, NO_PASID],
  [AT_UNTRANSLATED, 7],
  [AT_TRANSLATION_REQUEST, NO_PASID],
  [AT_TRANSLATION_REQUEST, 7],
  [AT_TRANSLATED, NO_PASID],
  [AT_TRANSLATED, 7],
] as const;

describe("what a device sees", () => {
  test.each<[string, Setup, readonly string[]]>([
    [
      "translation off",
      { on: false },
      ["RW 0x1234", "RW 0x1234", "UR translation", "UR translation", "UR translation", "UR translation"],
    ],
    ["TT=00", { translationType: 0 }, ["RW 0x40a00", "UR RTA.2", "UR LCT.5", "UR RTA.2", "UR LCT.5", "UR RTA.2"]],
    ["TT=01", { translationType: 1 }, ["RW 0x40a00", "UR RTA.2", "RW 0x40a00", "UR RTA.2", "RW 0x1234", "UR RTA.2"]],
    ["TT=10", { translationType: 2 }, ["RW 0x1234", "UR RTA.2", "UR LCT.5", "UR RTA.2", "UR LCT.5", "UR RTA.2"]],
    ["TT=11", { translationType: 3 }, ["UR LCT.4", "UR RTA.2", "CA LCT.4", "UR RTA.2", "UR LCT.4", "UR RTA.2"]],
    [
      "context not present",
      { present: false },
      ["UR LCT.2", "UR RTA.2", "UR LCT.2", "UR RTA.2", "UR LCT.2", "UR RTA.2"],
    ],
    [
      "abort mode on a unit without it",
      { mode: TTM_ABORT },
      ["UR RTA.1", "UR RTA.1", "CA RTA.1", "CA RTA.1", "UR RTA.1", "UR RTA.1"],
    ],
  ])("%s", (_name, setup, expected) => {
    const answers = classes.map(([type, pasid]) => ask(setUp(setup), type, { pasid }));
    expect(answers).toEqual(expected);
  });

  test("permissions and holes", () => {
    expect(ask(setUp({ prot: PROT_READ }), AT_UNTRANSLATED, { flags: REQUEST_WRITE })).toBe("UR LGN.2");
    expect(ask(setUp({ prot: PROT_WRITE }), AT_UNTRANSLATED)).toBe("UR LGN.3");
    expect(ask(setUp({ prot: PROT_READ, translationType: 1 }), AT_TRANSLATION_REQUEST)).toBe("R- 0x40a00");
    expect(ask(setUp({ translationType: 1 }), AT_TRANSLATION_REQUEST, { page: 1 })).toBe("-- 0x0");
    expect(ask(setUp(), AT_UNTRANSLATED, { page: 2 ** 36 })).toBe("UR LGN.1");
    expect(ask(setUp({ translationType: 1 }), AT_TRANSLATION_REQUEST, { page: 2 ** 36 })).toBe("-- 0x0");
    expect(ask(setUp({ translationType: 1 }), AT_TRANSLATED, { page: 2 ** 34 })).toBe("UR LGN.1");
  });

  test("malformed requests are refused and not recorded", () => {
    const machine = setUp();
    expect(ask(machine, AT_TRANSLATION_REQUEST, { flags: REQUEST_WRITE })).toBe("UR malformed");
    expect(ask(machine, 3)).toBe("UR malformed");
    expect(machine.unit.read32(FSTS)).toBe(0);
  });

  test("the interrupt range", () => {
    const machine = setUp({ translationType: 1 });
    const page = 0xfee00;
    expect(ask(machine, AT_UNTRANSLATED, { page, flags: REQUEST_WRITE })).toBe("-W 0xfee00");
    expect(ask(machine, AT_UNTRANSLATED, { page })).toBe("UR IR");
    expect(ask(machine, AT_TRANSLATED, { page, flags: REQUEST_WRITE })).toBe("UR LGN.4");
    const result = machine.unit.translate(SID, NO_PASID, page, 0, AT_TRANSLATION_REQUEST);
    expect([result.read, result.write, result.untranslatedOnly]).toEqual([false, true, true]);
    expect(ask(machine, AT_TRANSLATION_REQUEST, { page, flags: REQUEST_NO_WRITE })).toBe("-- 0xfee00");
  });

  test("a page that is mapped into the interrupt range is refused", () => {
    const machine = new Machine();
    const table = new PageTable(machine.memory, secondStage(4), "test", "table");
    table.map(1, 0xfee00, 1, RW);
    const contexts = machine.page();
    machine.store(
      contexts,
      encodeContextEntry({
        present: true,
        faultDisable: false,
        translationType: 1,
        pageTable: table.root,
        addressWidth: 2,
        domainId: 5,
      }),
    );
    machine.translateWith(machine.legacyRoot(contexts), TTM_LEGACY);
    expect(ask(machine, AT_UNTRANSLATED, { page: 1 })).toBe("UR LGN.4");
    expect(ask(machine, AT_TRANSLATION_REQUEST, { page: 1 })).toBe("CA LGN.4");
  });
});

describe("recording", () => {
  test("the record tells who, where, why and how", () => {
    const machine = setUp({ present: false });
    const result = machine.unit.translate(SID, NO_PASID, 0xdeadb, 0, AT_UNTRANSLATED | REQUEST_WRITE);
    expect(result.recorded).toBe(true);
    expect(machine.unit.read32(FSTS)).toBe(2);
    const words = [0, 4, 8, 12].map((offset) => machine.unit.read32(0x220 + offset));
    expect(words).toEqual([0xdeadb000, 0, 0x3a00, 0x80000002]);
    expect(decodeFaultRecord(words)).toMatchObject({ valid: true, reason: 2, access: "write", sourceId: SID });
  });

  test("FPD silences qualified faults, also in an entry that is not present", () => {
    for (const setup of [
      { present: false, faultDisable: true },
      { faultDisable: true, prot: PROT_READ },
    ]) {
      const machine = setUp(setup);
      const result = machine.unit.translate(SID, NO_PASID, PAGE, 0, AT_UNTRANSLATED | REQUEST_WRITE);
      expect(result.status).toBe("UR");
      expect(result.recorded).toBe(false);
      expect(machine.unit.read32(FSTS)).toBe(0);
    }
  });

  test("a full record register sets PFO; nothing is recorded until both are cleared", () => {
    const machine = setUp({ present: false });
    const fault = (): boolean => machine.unit.translate(SID, NO_PASID, 1, 0, AT_UNTRANSLATED).recorded;
    expect([fault(), fault()]).toEqual([true, false]);
    expect(machine.unit.read32(FSTS)).toBe(3);
    machine.unit.write32(0x22c, 0x80000000);
    expect(fault()).toBe(false);
    machine.unit.write32(FSTS, 1);
    expect(machine.unit.read32(FSTS)).toBe(0);
    expect(fault()).toBe(true);
  });

  test("a masked fault event waits for its mask", () => {
    const machine = setUp({ present: false });
    machine.unit.write32(0x3c, 0x31);
    machine.unit.write32(0x40, 0xfee00000);
    machine.unit.translate(SID, NO_PASID, 1, 0, AT_UNTRANSLATED);
    expect(machine.messages).toEqual([]);
    machine.unit.write32(0x38, 0);
    expect(machine.messages).toEqual([{ address: 0xfee00000, data: 0x31 }]);
  });

  test("a fault event names the table line's last writer", () => {
    const machine = setUp({ present: false });
    const root = machine.unit.read32(0x20);
    const contexts = machine.memory.load32(root + (SID >>> 8) * 16) - 1;
    machine.memory.noteWriter(contexts, 77);
    machine.unit.translate(SID, NO_PASID, 1, 0, AT_UNTRANSLATED);
    expect(machine.events.find((event) => event.type === "fault")).toMatchObject({
      code: "0x2",
      table: 77,
      recorded: true,
      rid: SID,
    });
  });
});
