import { PROT_READ, PROT_WRITE, PageTable, x86_64 } from "@iommu-lab/core";
import type { PasidEntry, ScalableContextEntry, VtdUnitOptions } from "@iommu-lab/intel-vtd";
import {
  EMPTY_PASID_ENTRY,
  encodePasidDirectoryEntry,
  encodePasidEntry,
  encodeScalableContext,
  pasidEntryOffset,
  secondStage,
} from "@iommu-lab/intel-vtd";
import type { TranslateResult } from "@iommu-lab/pci";
import {
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, SCALABLE_CAP, SCALABLE_ECAP, SID } from "./machine.ts";
import { FSTS, TTM_SCALABLE } from "../registers.ts";

const RW = PROT_READ | PROT_WRITE;
/** The same unit with 8 PASID bits. */
const PASID_8_ECAP = [SCALABLE_ECAP[0], 0x0001cd38] as const;
const PAGE = 0x1234;
const TARGET = 0x40a00;

interface Setup {
  readonly context?: Partial<ScalableContextEntry>;
  /** Entry of RID_PASID and of PASID 7. */
  readonly pasid?: Partial<PasidEntry>;
  readonly stage?: "first" | "second";
  readonly prot?: number;
  readonly directoryPresent?: boolean;
  readonly unit?: Partial<VtdUnitOptions>;
}

interface Built {
  readonly machine: Machine;
  readonly table: PageTable;
  readonly contexts: number;
  readonly pasids: number;
}

function setUp(setup: Setup = {}): Built {
  const machine = new Machine({ cap: SCALABLE_CAP, ecap: SCALABLE_ECAP, ...setup.unit });
  const second = setup.stage === "second";
  const table = new PageTable(machine.memory, second ? secondStage(4) : x86_64, "test", "table");
  table.map(PAGE, TARGET, 1, setup.prot ?? RW);
  const pasids = machine.page();
  const entry: PasidEntry = {
    ...EMPTY_PASID_ENTRY,
    present: true,
    addressWidth: 2,
    translationType: second ? 2 : 1,
    ...(second ? { secondStageTable: table.root } : { firstStageTable: table.root }),
    domainId: 5,
    pageWalkSnoop: true,
    ...setup.pasid,
  };
  machine.store(pasids, encodePasidEntry(entry));
  machine.store(pasids + pasidEntryOffset(7), encodePasidEntry(entry));
  const directory = machine.page();
  machine.store(
    directory,
    encodePasidDirectoryEntry({ present: setup.directoryPresent ?? true, faultDisable: false, table: pasids }),
  );
  const contexts = machine.page();
  machine.store(
    contexts + (SID & 0x7f) * 32,
    encodeScalableContext({
      present: true,
      faultDisable: false,
      deviceTlbEnable: true,
      pasidEnable: true,
      pageRequestEnable: true,
      translatedPasidEnable: false,
      directorySize: 7,
      pasidDirectory: directory,
      ridPasid: 0,
      ridPrivileged: false,
      ...setup.context,
    }),
  );
  machine.translateWith(machine.scalableRoot(contexts), TTM_SCALABLE);
  return { machine, table, contexts, pasids };
}

function verdict(result: TranslateResult): string {
  if (result.status !== "success") {
    return `${result.status} ${result.fault.split(" ")[0]}`;
  }
  return `${result.read ? "R" : "-"}${result.write ? "W" : "-"} 0x${result.page.toString(16)}`;
}

function ask(
  { machine }: Built,
  type: number,
  options: { pasid?: number; page?: number; flags?: number } = {},
): string {
  const { pasid = NO_PASID, page = PAGE, flags = 0 } = options;
  return verdict(machine.unit.translate(SID, pasid, page, 0, type | flags));
}

const classes = [
  [AT_UNTRANSLATED, NO_PASID],
  [AT_UNTRANSLATED, 7],
  [AT_TRANSLATION_REQUEST, NO_PASID],
  [AT_TRANSLATION_REQUEST, 7],
  [AT_TRANSLATED, NO_PASID],
  [AT_TRANSLATED, 7],
] as const;

const walked = "RW 0x40a00";
const passed = "RW 0x1234";

describe("what a device sees", () => {
  test.each<[string, Setup, readonly string[]]>([
    ["first stage", {}, [walked, walked, walked, walked, passed, "UR SCT.10"]],
    ["second stage", { stage: "second" }, [walked, walked, walked, walked, passed, "UR SCT.10"]],
    [
      "pass-through",
      { pasid: { translationType: 4, firstStageTable: 0 } },
      [passed, passed, passed, passed, passed, "UR SCT.10"],
    ],
    [
      "DTE=0",
      { context: { deviceTlbEnable: false, pageRequestEnable: false } },
      [walked, walked, "UR SCT.5", "UR SCT.5", "UR SCT.5", "UR SCT.5"],
    ],
    ["PASIDE=0", { context: { pasidEnable: false } }, [walked, "UR SCT.6", walked, "UR SCT.6", passed, "UR SCT.10"]],
    [
      "PASID entry not present: a Translated request passes all the same",
      { pasid: { present: false } },
      ["UR SPT.2", "UR SPT.2", "-- 0x0", "-- 0x0", passed, "UR SCT.10"],
    ],
    [
      "PASID directory entry not present",
      { directoryPresent: false },
      ["UR SPD.2", "UR SPD.2", "-- 0x0", "-- 0x0", passed, "UR SCT.10"],
    ],
    [
      "context not present",
      { context: { present: false } },
      ["UR SCT.2", "UR SCT.2", "UR SCT.2", "UR SCT.2", "UR SCT.2", "UR SCT.2"],
    ],
    [
      "PRE without DTE",
      { context: { deviceTlbEnable: false } },
      ["UR SCT.4", "UR SCT.4", "CA SCT.4", "CA SCT.4", "UR SCT.4", "UR SCT.4"],
    ],
    [
      "translation type reserved",
      { pasid: { translationType: 5 } },
      ["UR SPT.4", "UR SPT.4", "CA SPT.4", "CA SPT.4", passed, "UR SCT.10"],
    ],
    [
      "reserved bit (page snoop without snoop control)",
      { pasid: { pageSnoop: true } },
      ["UR SPT.3", "UR SPT.3", "CA SPT.3", "CA SPT.3", passed, "UR SCT.10"],
    ],
  ])("%s", (_name, setup, expected) => {
    expect(classes.map(([type, pasid]) => ask(setUp(setup), type, { pasid }))).toEqual(expected);
  });

  test("Translated requests with PASID need unit and context entry to allow them", () => {
    const ecap = [SCALABLE_ECAP[0], SCALABLE_ECAP[1] | (1 << 24)] as const;
    expect(ask(setUp({ unit: { ecap }, context: { translatedPasidEnable: true } }), AT_TRANSLATED, { pasid: 7 })).toBe(
      passed,
    );
    expect(ask(setUp({ unit: { ecap } }), AT_TRANSLATED, { pasid: 7 })).toBe("UR SCT.10");
  });

  test("PASIDs out of range or equal to RID_PASID", () => {
    expect(ask(setUp({ context: { directorySize: 0 } }), AT_UNTRANSLATED, { pasid: 8192 })).toBe("UR SCT.7");
    expect(ask(setUp(), AT_UNTRANSLATED, { pasid: 0 })).toBe("UR SCT.9");
    const ecap = [SCALABLE_ECAP[0], (SCALABLE_ECAP[1] & ~(0x1f << 3)) | (9 << 3)] as const;
    expect(ask(setUp({ unit: { ecap } }), AT_UNTRANSLATED, { pasid: 1024 })).toBe("UR SGN.10");
  });

  test("privileged and execute requests", () => {
    expect(ask(setUp(), AT_UNTRANSLATED, { pasid: 7, flags: REQUEST_PRIVILEGED })).toBe("UR SPT.6");
    expect(ask(setUp(), AT_TRANSLATION_REQUEST, { pasid: 7, flags: REQUEST_PRIVILEGED })).toBe("-- 0x0");
    expect(ask(setUp(), AT_UNTRANSLATED, { pasid: 7, flags: REQUEST_EXECUTE })).toBe("UR SPT.5");
  });

  test("first-stage faults", () => {
    expect(ask(setUp(), AT_UNTRANSLATED, { page: 1 })).toBe("UR SFS.2");
    expect(ask(setUp(), AT_TRANSLATION_REQUEST, { page: 1 })).toBe("-- 0x0");
    expect(ask(setUp(), AT_UNTRANSLATED, { page: 2 ** 36 })).toBe("UR SGN.1");
    expect(ask(setUp({ prot: PROT_READ }), AT_UNTRANSLATED, { flags: REQUEST_WRITE })).toBe("UR SGN.6");
    expect(ask(setUp({ prot: PROT_READ }), AT_TRANSLATION_REQUEST)).toBe("R- 0x40a00");
  });

  test("second-stage faults", () => {
    const second = { stage: "second" } as const;
    expect(ask(setUp(second), AT_UNTRANSLATED, { page: 1 })).toBe("UR SSS.2");
    expect(ask(setUp(second), AT_TRANSLATION_REQUEST, { page: 1 })).toBe("-- 0x0");
    expect(ask(setUp(second), AT_UNTRANSLATED, { page: 2 ** 36 })).toBe("UR SGN.5");
    expect(ask(setUp({ ...second, prot: PROT_READ }), AT_UNTRANSLATED, { flags: REQUEST_WRITE })).toBe("UR SGN.6");
    expect(ask(setUp({ ...second, prot: PROT_WRITE }), AT_UNTRANSLATED)).toBe("UR SGN.7");
  });

  test("pass-through completes Translation Requests with the largest page", () => {
    const built = setUp({ pasid: { translationType: 4, firstStageTable: 0 } });
    const result = built.machine.unit.translate(SID, NO_PASID, PAGE, 0, AT_TRANSLATION_REQUEST);
    expect([result.sizeLog2, result.page]).toEqual([30, PAGE]);
    expect(ask(built, AT_UNTRANSLATED, { page: 2 ** 34 })).toBe("UR SGN.4");
  });

  test("requests with PASID into the interrupt range are translated, pass-through ones refused", () => {
    const page = 0xfee00;
    expect(ask(setUp(), AT_UNTRANSLATED, { pasid: 7, page })).toBe("UR SFS.2");
    const through = setUp({ pasid: { translationType: 4, firstStageTable: 0 } });
    expect(ask(through, AT_UNTRANSLATED, { pasid: 7, page: page - 0x100 })).toBe("RW 0xfed00");
    expect(ask(through, AT_UNTRANSLATED, { pasid: 7, page })).toBe("UR SGN.8");
    expect(ask(through, AT_UNTRANSLATED, { page, flags: REQUEST_WRITE })).toBe("-W 0xfee00");
  });

  test("answers without permissions to Translation Requests are not recorded", () => {
    const built = setUp({ pasid: { present: false } });
    ask(built, AT_TRANSLATION_REQUEST);
    expect(built.machine.unit.read32(FSTS)).toBe(0);
    ask(built, AT_UNTRANSLATED);
    expect(built.machine.unit.read32(FSTS)).toBe(2);
  });

  test("FPD of a PASID entry that is not present silences its fault", () => {
    const built = setUp({ pasid: { ...EMPTY_PASID_ENTRY, faultDisable: true } });
    expect(ask(built, AT_UNTRANSLATED)).toBe("UR SPT.2");
    expect(built.machine.unit.read32(FSTS)).toBe(0);
  });
});

function leafOf({ machine, table }: Built): number {
  let at = table.root;
  for (const shift of [27, 18, 9]) {
    at = machine.memory.load32(at + (Math.floor(PAGE / 2 ** shift) % 512) * 8) & 0xfffff000;
  }
  return at + (PAGE % 512) * 8;
}

describe("accessed and dirty bits of the first stage", () => {
  test("a read marks accessed, a write dirty", () => {
    const built = setUp();
    const leaf = leafOf(built);
    const { memory } = built.machine;
    memory.store32(leaf, memory.load32(leaf) & ~0x60);
    ask(built, AT_UNTRANSLATED);
    expect(memory.load32(leaf) & 0x60).toBe(0x20);
    ask(built, AT_UNTRANSLATED, { flags: REQUEST_WRITE });
    expect(memory.load32(leaf) & 0x60).toBe(0x60);
  });

  test("a Translation Request counts as a write", () => {
    const built = setUp();
    const leaf = leafOf(built);
    const { memory } = built.machine;
    memory.store32(leaf, memory.load32(leaf) & ~0x60);
    ask(built, AT_TRANSLATION_REQUEST);
    expect(memory.load32(leaf) & 0x60).toBe(0x60);
  });
});

describe("page requests", () => {
  const request = { rid: SID, pasid: 7, page: 0x55, read: true, write: false, last: true, groupIndex: 3 };

  test("go into the queue and raise the event", () => {
    const { machine } = setUp();
    const queue = machine.page();
    machine.unit.write64(0xd0, queue, 0);
    machine.unit.write32(0xe4, 0x42);
    machine.unit.write32(0xe0, 0);
    machine.unit.pageRequest(request);
    expect(machine.memory.load32(queue)).toBe(((SID << 16) | 0x101) >>> 0);
    expect(machine.unit.read32(0xc8)).toBe(32);
    expect(machine.unit.read32(0xdc)).toBe(1);
    expect(machine.messages).toEqual([{ address: 0, data: 0x42 }]);
    expect(machine.root.sent).toEqual([]);
  });

  test.each<[string, Setup & { readonly request?: { readonly pasid: number } }, string]>([
    ["PRE=0", { context: { pageRequestEnable: false } }, "0x47"],
    ["DTE=0", { context: { pageRequestEnable: false, deviceTlbEnable: false } }, "0x44"],
    ["no PASID entry", { pasid: { present: false } }, "0x59"],
    ["PASIDE=0", { context: { pasidEnable: false } }, "0x45"],
    ["a PASID beyond the directory", { context: { directorySize: 0 }, request: { pasid: 0x2000 } }, "0x46"],
    ["the PASID that stands for none", { request: { pasid: 0 } }, "0x48"],
    ["a PASID wider than the unit has", { unit: { ecap: PASID_8_ECAP }, request: { pasid: 0x100 } }, "0x89"],
  ])("are refused: %s", (_name, { request: changed, ...setup }, code) => {
    const { machine } = setUp(setup);
    const sent = { ...request, ...changed };
    machine.unit.pageRequest(sent);
    expect(machine.root.sent).toEqual([
      expect.objectContaining({ kind: "response", rid: SID, pasid: sent.pasid, code: 1 }),
    ]);
    expect(machine.events.find((event) => event.type === "fault")).toMatchObject({ code });
  });

  test("a full queue overflows and answers Success itself", () => {
    const { machine } = setUp();
    machine.unit.write64(0xd0, machine.page(), 0);
    machine.unit.write32(0xc0, 32);
    machine.unit.pageRequest(request);
    expect(machine.unit.read32(0xdc)).toBe(2);
    expect(machine.root.sent).toEqual([expect.objectContaining({ kind: "response", itag: 3, code: 0 })]);
  });
});
