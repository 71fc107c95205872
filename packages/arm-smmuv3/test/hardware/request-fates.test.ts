import { NO_PASID, REQUEST_SOURCE_CXL } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { CR0, CR2, GBPA, REG } from "../../src/layout/registers.ts";
import { EATS, S1_DSS, STE_CONFIG, type SteField } from "../../src/layout/stream-table-entry.ts";
import { CONTEXTS, Machine } from "../support/machine.ts";

type Ste = Readonly<Partial<Record<SteField, number>>>;

const RW = 0x50000f47n;
const PAGE = 0x50000;
const stage1 = { config: STE_CONFIG.stage1, s1ContextPtr: CONTEXTS };
/** A linear table of four descriptors. */
const substreams = { ...stage1, s1CdMax: 2 };

let machine: Machine;

function start(ste: Ste, more: number = CR0.smmuen | CR0.atschk, cr2: number = CR2.recInvSid): void {
  machine = new Machine();
  machine.enable(more, cr2);
  machine.ste(ste);
  for (const ssid of [0, 1, 2, 3]) {
    machine.cd(ssid);
  }
  machine.map({ 1: RW });
}

/** The names of the event records, and what the trace says of the last refusal. */
function recorded(): string[] {
  const ids = machine.takeEvents().map(([w0 = "0x0"]) => Number(BigInt(w0) & 0xffn));
  const names: Readonly<Record<number, string>> = {
    2: "C_BAD_STREAMID",
    4: "C_BAD_STE",
    5: "F_BAD_ATS_TREQ",
    6: "F_STREAM_DISABLED",
    7: "F_TRANSL_FORBIDDEN",
    8: "C_BAD_SUBSTREAMID",
    10: "C_BAD_CD",
    16: "F_TRANSLATION",
    17: "F_ADDR_SIZE",
  };
  return ids.map((id) => names[id] ?? String(id));
}

/** What each stream does with requests of every class. Page 1 is mapped by every context descriptor. */
const streams: readonly {
  readonly what: string;
  readonly ste: Ste;
  /** Untranslated: with PASID 0 and 1, and without. `stage1`, `bypass` or an event; `-` = no event. */
  readonly untranslated: readonly [none: string, zero: string, one: string];
  /** Translation Request: completion, then event. */
  readonly request: readonly [none: string, zero: string, one: string];
  /** Translated with ATSCHK. */
  readonly translated: string;
}[] = [
  {
    what: "abort",
    ste: { config: STE_CONFIG.abort },
    untranslated: ["-", "-", "-"],
    request: ["UR -", "UR -", "UR -"],
    translated: "-",
  },
  {
    what: "reserved Config 011",
    ste: { config: 3 },
    untranslated: ["-", "-", "-"],
    request: ["UR -", "UR -", "UR -"],
    translated: "-",
  },
  {
    what: "bypass",
    ste: { config: STE_CONFIG.bypass, eats: EATS.full },
    untranslated: ["bypass", "C_BAD_SUBSTREAMID", "C_BAD_SUBSTREAMID"],
    request: ["UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ"],
    translated: "F_TRANSL_FORBIDDEN",
  },
  {
    what: "stage 1, no substreams, ATS off",
    ste: stage1,
    untranslated: ["stage1", "C_BAD_SUBSTREAMID", "C_BAD_SUBSTREAMID"],
    request: ["UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ"],
    translated: "F_TRANSL_FORBIDDEN",
  },
  {
    what: "stage 1, no substreams, ATS on",
    ste: { ...stage1, eats: EATS.full },
    untranslated: ["stage1", "C_BAD_SUBSTREAMID", "C_BAD_SUBSTREAMID"],
    request: ["stage1", "CA C_BAD_SUBSTREAMID", "CA C_BAD_SUBSTREAMID"],
    translated: "passes",
  },
  {
    what: "substreams, S1DSS terminate",
    ste: { ...substreams, s1Dss: S1_DSS.terminate, eats: EATS.full },
    untranslated: ["F_STREAM_DISABLED", "stage1", "stage1"],
    request: ["CA F_STREAM_DISABLED", "stage1", "stage1"],
    translated: "passes",
  },
  {
    what: "substreams, S1DSS reserved",
    ste: { ...substreams, s1Dss: 3, eats: EATS.full },
    untranslated: ["F_STREAM_DISABLED", "stage1", "stage1"],
    request: ["CA F_STREAM_DISABLED", "stage1", "stage1"],
    translated: "passes",
  },
  {
    what: "substreams, S1DSS bypass",
    ste: { ...substreams, s1Dss: S1_DSS.bypass, eats: EATS.full },
    untranslated: ["bypass", "stage1", "stage1"],
    request: ["identity", "stage1", "stage1"],
    translated: "passes",
  },
  {
    what: "substreams, S1DSS SSID0",
    ste: { ...substreams, s1Dss: S1_DSS.ssid0, eats: EATS.full },
    untranslated: ["stage1", "F_STREAM_DISABLED", "stage1"],
    request: ["stage1", "CA F_STREAM_DISABLED", "stage1"],
    translated: "passes",
  },
  {
    what: "substreams, S1DSS bypass, ATS off",
    ste: { ...substreams, s1Dss: S1_DSS.bypass },
    untranslated: ["bypass", "stage1", "stage1"],
    request: ["UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ"],
    translated: "F_TRANSL_FORBIDDEN",
  },
  {
    what: "V=0",
    ste: { v: 0, ...stage1, eats: EATS.full },
    untranslated: ["C_BAD_STE", "C_BAD_STE", "C_BAD_STE"],
    request: ["CA C_BAD_STE", "CA C_BAD_STE", "CA C_BAD_STE"],
    translated: "C_BAD_STE",
  },
  {
    what: "split-stage ATS without stage 2",
    ste: { ...stage1, eats: EATS.split },
    untranslated: ["C_BAD_STE", "C_BAD_STE", "C_BAD_STE"],
    request: ["CA C_BAD_STE", "CA C_BAD_STE", "CA C_BAD_STE"],
    translated: "C_BAD_STE",
  },
  {
    what: "EATS 3 without a device permission table",
    ste: { ...stage1, eats: EATS.dpt },
    untranslated: ["stage1", "C_BAD_SUBSTREAMID", "C_BAD_SUBSTREAMID"],
    request: ["UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ", "UR F_BAD_ATS_TREQ"],
    translated: "F_TRANSL_FORBIDDEN",
  },
];

describe.each(streams)("$what", ({ ste, untranslated, request, translated }) => {
  it.each([NO_PASID, 0, 1])("Untranslated, PASID %i", (pasid) => {
    start(ste);
    const expected = untranslated[pasid + 1] ?? "";
    const result = machine.write(1, pasid);
    expect(result.page).toBe(expected === "stage1" ? PAGE : expected === "bypass" ? 1 : 0);
    expect(result.status).toBe(expected === "stage1" || expected === "bypass" ? "success" : "UR");
    const names = result.status === "success" || expected === "-" ? [] : [expected];
    expect(result.recorded).toBe(names.length > 0);
    expect(recorded()).toEqual(names);
  });

  it.each([NO_PASID, 0, 1])("Translation Request, PASID %i", (pasid) => {
    start(ste, CR0.smmuen | CR0.atschk, CR2.recInvSid | CR2.recCfgAts);
    const expected = request[pasid + 1] ?? "";
    const result = machine.translationRequest(1, pasid);
    if (expected === "stage1" || expected === "identity") {
      expect(result).toMatchObject({
        status: "success",
        read: true,
        write: true,
        execute: false,
        untranslatedOnly: false,
      });
      expect(result.page).toBe(expected === "stage1" ? PAGE : 1);
      expect(recorded()).toEqual([]);
    } else {
      const [status, event] = expected.split(" ");
      expect(result.status).toBe(status);
      expect(recorded()).toEqual(event === "-" ? [] : [event]);
    }
  });

  it("Translation Request without REC_CFG_ATS: configuration errors leave no record", () => {
    start(ste);
    machine.translationRequest(1, 1);
    const event = (request[2] ?? "").split(" ")[1];
    expect(recorded()).toEqual(event === "F_BAD_ATS_TREQ" ? [event] : []);
  });

  it("Translated with ATSCHK", () => {
    start(ste, CR0.smmuen | CR0.atschk, CR2.recInvSid | CR2.recCfgAts);
    const result = machine.translated(0x7777);
    expect(result.status).toBe(translated === "passes" ? "success" : "UR");
    expect(result.page).toBe(translated === "passes" ? 0x7777 : 0);
    expect(recorded()).toEqual(translated === "passes" || translated === "-" ? [] : [translated]);
  });

  it("Translated without ATSCHK passes", () => {
    start(ste, CR0.smmuen);
    expect(machine.translated(0x7777)).toMatchObject({ status: "success", page: 0x7777 });
    expect(recorded()).toEqual([]);
  });
});

describe("SubstreamIDs", () => {
  it("end at S1CDMax", () => {
    start({ ...substreams, s1Dss: S1_DSS.ssid0 });
    expect(machine.read(1, 3).status).toBe("success");
    expect(machine.read(1, 4).fault).toBe("C_BAD_SUBSTREAMID");
  });

  it("count on Translated requests with PASIDTT alone", () => {
    const ste = { ...substreams, s1Dss: S1_DSS.terminate, eats: EATS.full, v: 1 };
    start(ste);
    expect(machine.translated(0x7777, 9).status).toBe("success");
    machine = new Machine({ id: { idr3: 0x11414 } });
    machine.enable();
    machine.ste(ste);
    expect(machine.translated(0x7777, 9).fault).toBe("C_BAD_SUBSTREAMID");
    expect(machine.translated(0x7777).fault).toBe("F_STREAM_DISABLED");
    expect(machine.translated(0x7777, 1).status).toBe("success");
  });
});

describe("StreamIDs beyond the table", () => {
  it.each([
    ["RECINVSID", CR2.recInvSid, ["C_BAD_STREAMID"]],
    ["no RECINVSID", 0, []],
  ])("Untranslated, %s", (_what, cr2, names) => {
    start({}, CR0.smmuen | CR0.atschk, cr2);
    const result = machine.smmu.translate(0x10000, NO_PASID, 1, 0, 0);
    expect(result).toMatchObject({ status: "UR", fault: "C_BAD_STREAMID", recorded: names.length > 0 });
    expect(recorded()).toEqual(names);
  });

  it.each([
    ["neither", 0, []],
    ["RECINVSID alone", CR2.recInvSid, []],
    ["REC_CFG_ATS alone", CR2.recCfgAts, []],
    ["both", CR2.recInvSid | CR2.recCfgAts, ["C_BAD_STREAMID"]],
  ])("Translation Request, %s", (_what, cr2, names) => {
    start({}, CR0.smmuen | CR0.atschk, cr2);
    expect(machine.smmu.translate(0x10000, NO_PASID, 1, 0, 1).status).toBe("CA");
    expect(recorded()).toEqual(names);
  });

  it("Translated: recorded whatever RECINVSID says", () => {
    start({}, CR0.smmuen | CR0.atschk, CR2.recCfgAts);
    expect(machine.smmu.translate(0x10000, NO_PASID, 1, 0, 2).status).toBe("UR");
    expect(recorded()).toEqual(["C_BAD_STREAMID"]);
  });
});

describe("address sizes", () => {
  const beyond = 2 ** 36;

  it("bypass beyond OAS is F_ADDR_SIZE", () => {
    start({ config: STE_CONFIG.bypass });
    expect(machine.read(beyond - 1).status).toBe("success");
    expect(machine.read(beyond).fault).toBe("F_ADDR_SIZE");
    expect(machine.takeEvents()).toEqual([["0x0000010000000011", "0x0000020800000000", "0x0001000000000000"]]);
  });

  it("an identity translation beyond OAS grants nothing", () => {
    start({ ...substreams, s1Dss: S1_DSS.bypass, eats: EATS.full });
    expect(machine.translationRequest(beyond)).toMatchObject({ status: "success", read: false, write: false });
    expect(recorded()).toEqual([]);
  });

  it("a Translated request beyond OAS is aborted without a record", () => {
    start({ ...stage1, eats: EATS.full });
    expect(machine.translated(beyond)).toMatchObject({ status: "UR", recorded: false });
    expect(recorded()).toEqual([]);
  });
});

describe("Translation Requests", () => {
  beforeEach(() => {
    start({ ...stage1, eats: EATS.full });
  });

  it("for an unmapped page: Success without permissions, no event", () => {
    expect(machine.translationRequest(2)).toMatchObject({ status: "success", read: false, write: false, sizeLog2: 12 });
    expect(recorded()).toEqual([]);
  });

  it("for a bad context descriptor: CA", () => {
    machine.cd(0, { v: 0 });
    expect(machine.translationRequest(1)).toMatchObject({ status: "CA", fault: "C_BAD_CD", recorded: false });
  });

  it("with an external abort of the walk: CA", () => {
    machine.cd(0, { ttb0: 0x10000000 });
    expect(machine.translationRequest(1)).toMatchObject({ status: "CA", fault: "F_WALK_EABT" });
  });

  it("for CXL.cache say when memory must be reached through CXL.io", () => {
    machine.map({ 1: RW, 2: 0x50001e4bn });
    expect(machine.translationRequest(1, NO_PASID, REQUEST_SOURCE_CXL).cxlIo).toBe(false);
    expect(machine.translationRequest(2, NO_PASID, REQUEST_SOURCE_CXL).cxlIo).toBe(true);
    expect(machine.translationRequest(2).cxlIo).toBe(false);
  });
});

describe("while SMMUEN is 0", () => {
  beforeEach(() => {
    start({ ...stage1, eats: EATS.full }, 0);
  });

  it("Untranslated requests pass, or abort by GBPA", () => {
    expect(machine.write(1)).toMatchObject({ status: "success", page: 1 });
    expect(machine.write(1, 5).status).toBe("success");
    machine.write32(REG.gbpa, GBPA.update | GBPA.abort);
    expect(machine.write(1)).toMatchObject({ status: "UR", fault: "GBPA.ABORT", recorded: false });
    expect(recorded()).toEqual([]);
  });

  it("Translation Requests get UR, Translated requests abort, both recorded", () => {
    expect(machine.translationRequest(1).status).toBe("UR");
    expect(machine.translated(1).status).toBe("UR");
    expect(recorded()).toEqual(["F_BAD_ATS_TREQ", "F_TRANSL_FORBIDDEN"]);
  });
});

it("an SMMU without ATS does not look at EATS", () => {
  machine = new Machine({ id: { idr0: 0x0dcd149b & ~0x400 } });
  machine.enable(CR0.smmuen);
  machine.ste({ ...stage1, eats: EATS.split });
  machine.cd(0);
  machine.map({ 1: RW });
  expect(machine.read(1).status).toBe("success");
  expect(machine.translationRequest(1).status).toBe("UR");
});
