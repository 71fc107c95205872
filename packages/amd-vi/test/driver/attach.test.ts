import { describe, expect, test } from "vitest";
import { BARE, Lab, NIC, PLAIN } from "./lab.ts";

const DTE = /^dte 0x([0-9a-f]+) 0x([0-9a-f]+)$/;

/** DTE lines by what they mean. */
function named(lines: readonly string[]): string[] {
  return lines.map((line) => {
    const match = DTE.exec(line);
    if (match === null) {
      return line.startsWith("0x") ? (names[line.at(2) ?? ""] ?? line) : line;
    }
    const low = BigInt(`0x${match[1]}`);
    const ats = (BigInt(`0x${match[2]}`) >> 32n) & 1n;
    const mode = (low >> 9n) & 7n;
    const guest = ((low >> 55n) & 1n) === 1n;
    const translated = guest
      ? `guest${((low >> 54n) & 1n) === 1n ? " GIoV" : ""}${((low >> 52n) & 1n) === 1n ? " PPR" : ""}`
      : `mode ${mode}`;
    return (low & 2n) === 0n ? `dte blocked I=${ats}` : `dte ${translated} I=${ats}`;
  });
}

const names: Readonly<Record<string, string>> = { "2": "devtab", "3": "pages", "4": "iotlb" };
const written = ["devtab", "wait", "devtab", "iotlb", "wait"];
const cleared = ["devtab", "wait", "devtab", "wait"];

function order(lab: Lab, rid: number, domain: Parameters<Lab["attach"]>[1]): string[] {
  return named(
    lab.watch(() => {
      lab.attach(rid, domain);
    }),
  );
}

describe("attach and detach, in order", () => {
  test("IDENTITY with PASIDs: PASID, ATS, PRI, then the DTE permits", () => {
    const lab = new Lab().boot();
    const { identity, blocked } = lab.platform.iommu.driver ?? {};
    lab.attach(NIC, blocked);
    expect(order(lab, NIC, identity)).toEqual(["pasid+", "ats+", "pri+", "dte guest PPR I=1", ...written]);
    expect(lab.entry(NIC)).toMatchObject({ guestIo: false, glx: 1, read: true, write: true, mode: 0 });
  });

  test("BLOCKED: ATS, PASID, PRI, then the DTE; its own ATC is not invalidated; the DTE is cleared twice", () => {
    const lab = new Lab().boot();
    const { blocked } = lab.platform.iommu.driver ?? {};
    expect(order(lab, NIC, blocked)).toEqual([
      "ats-",
      "pasid-",
      "pri-",
      "dte blocked I=0",
      ...cleared,
      "pages",
      "wait",
      ...cleared,
    ]);
    expect(lab.dte(NIC).slice(0, 2)).toEqual(["0x0000000000000001", "0x0000000000000000"]);
  });

  test("v1: ATS alone", () => {
    const lab = new Lab().boot();
    const domain = lab.paging(NIC, lab.buffer());
    const lines = order(lab, NIC, domain);
    expect(lines.slice(lines.indexOf("pages"))).toEqual(["pages", "wait", "ats+", "dte mode 3 I=1", ...written]);
    expect(lab.entry(NIC)).toMatchObject({ guestValid: false, pageRequests: false });
  });

  test("v2: GCR3[0] first, then PASID, ATS, PRI, then the DTE with GIoV", () => {
    const lab = new Lab().boot();
    const { blocked } = lab.platform.iommu.driver ?? {};
    const domain = lab.paging(NIC, lab.buffer(), true);
    lab.attach(NIC, blocked);
    const [entry, ...rest] = order(lab, NIC, domain);
    expect(entry).toMatch(/^gcr3\[0\] 0x[0-9a-f]+1$/);
    expect(rest).toEqual(["pages", "wait", "pasid+", "ats+", "pri+", "dte guest GIoV PPR I=1", ...written]);
  });

  test("v2 detach: the page invalidation names PASID 0, then GCR3[0] is cleared", () => {
    const lab = new Lab().boot();
    const { blocked } = lab.platform.iommu.driver ?? {};
    lab.attach(NIC, lab.paging(NIC, lab.buffer(), true));
    const { domainId } = lab.entry(NIC);
    const raw = lab.watch(() => {
      lab.attach(NIC, blocked);
    });
    const page = `0x3000${domainId.toString(16).padStart(4, "0")}00000000 0x7ffffffffffff007`;
    expect(raw.slice(8)).toEqual([page, "wait", "gcr3[0] 0x0", page, "wait", ...raw.slice(-4)]);
    expect(named(raw.slice(-4))).toEqual(cleared);
  });

  test("without ATS there is no IOTLB command, and I stays 0", () => {
    const lab = new Lab().boot();
    const domain = lab.paging(BARE, lab.buffer());
    const lines = order(lab, BARE, domain);
    expect(lines).not.toContain("iotlb");
    expect(lines.at(-5)).toBe("dte mode 3 I=0");
  });

  test("the same domain again: nothing is written", () => {
    const lab = new Lab().boot();
    const device = lab.device(NIC);
    const { identity } = lab.platform.iommu.driver ?? {};
    expect(
      lab.watch(() => {
        lab.run(identity?.attach(device, identity) ?? lab.platform.iommu.removeDevice(device));
      }),
    ).toEqual([]);
  });

  test("ATS on before the DTE permits: a Translation Request in the gap is refused", () => {
    const lab = new Lab().boot();
    const { scheduler, iommu } = lab.platform;
    lab.attach(PLAIN, iommu.driver?.blocked);
    const { identity } = iommu.driver ?? {};
    if (identity === undefined) {
      throw new Error("no identity");
    }
    const endpoint = lab.endpoint(PLAIN);
    const attach = scheduler.start(iommu.setGroupDomain(lab.group(PLAIN), identity));
    scheduler.advance(attach, { name: "ATS on", holds: () => endpoint.atsEnabled });
    expect(endpoint.translationRequest(5)).toMatchObject({ sent: true, status: "CA" });
    scheduler.advance(attach);
    expect(endpoint.translationRequest(5)).toMatchObject({ status: "success", host: 5 });
  });

  test("between two translations hardware can see nothing but the blocked state", () => {
    const lab = new Lab().boot();
    const { iommu, scheduler } = lab.platform;
    const v2 = lab.paging(NIC, lab.buffer(), true);
    const attach = scheduler.start(iommu.setGroupDomain(lab.group(NIC), v2));
    const seen: string[] = [];
    for (let ended = false; !ended;) {
      let halted = false;
      const once = (): boolean => {
        const now = halted;
        halted = true;
        return now;
      };
      ended = scheduler.advance(attach, { name: "one step", holds: once });
      const { valid, translationValid, guestIo, iotlb } = lab.entry(NIC);
      const state = `V=${Number(valid)} TV=${Number(translationValid)} GIoV=${Number(guestIo)} I=${Number(iotlb)}`;
      if (seen.at(-1) !== state) {
        seen.push(state);
      }
    }
    expect(seen).toEqual(["V=1 TV=1 GIoV=0 I=1", "V=1 TV=0 GIoV=0 I=0", "V=1 TV=1 GIoV=1 I=1"]);
  });
});

describe("domain IDs", () => {
  test("IDENTITY has one for all, but a function with a GCR3 table has its own", () => {
    const lab = new Lab({ kernel: { cmdline: "iommu.passthrough=1" } }).boot();
    expect(lab.entry(PLAIN).domainId).toBe(1);
    expect(lab.entry(BARE).domainId).toBe(1);
    expect(lab.entry(NIC).domainId).toBeGreaterThan(1);
  });

  test("a function leaving IDENTITY makes the ATCs of all others in it invalidated", () => {
    const lab = new Lab({ kernel: { cmdline: "iommu.passthrough=1" } }).boot();
    const { blocked } = lab.platform.iommu.driver ?? {};
    const lines = lab.watch(() => {
      lab.attach(NIC, blocked);
    });
    expect(lines).toContain("0x4000020020000200 0x7ffffffffffff001");
    expect(lines).not.toContain("0x4000010020000100 0x7ffffffffffff001");
  });
});

describe("page table", () => {
  test("v1 by default, v2 for PASIDs or with pgtbl_v2", () => {
    const lab = new Lab().boot();
    lab.attach(NIC, lab.paging(NIC, lab.buffer()));
    expect(lab.entry(NIC).mode).toBe(3);
    const other = new Lab({ kernel: { cmdline: "amd_iommu=pgtbl_v2" } }).boot();
    expect(other.entry(PLAIN)).toMatchObject({ guestValid: true, guestIo: true, mode: 0 });
    expect(other.entry(PLAIN).glx).toBe(0);
  });

  test("no PASID-compatible domain without PASID support", () => {
    const lab = new Lab({ ephSup: false }).boot();
    expect(() => lab.platform.iommu.allocPaging(lab.device(NIC), { pasid: true })).toThrow("EOPNOTSUPP");
  });

  test("pgtbl_v2 falls back to v1 where guest tables are missing", () => {
    const lab = new Lab({ gioSup: false, kernel: { cmdline: "amd_iommu=pgtbl_v2" } }).boot();
    expect(lab.entry(PLAIN).mode).toBe(3);
    expect(lab.traced("warn").map(({ where }) => where)).toContain("early_amd_iommu_init");
  });

  test("settings of firmware stay in every state", () => {
    const lab = new Lab({ settings: [{ first: 0, last: 0xffff, setting: 0xd7 }] }).boot();
    const { blocked } = lab.platform.iommu.driver ?? {};
    lab.attach(PLAIN, blocked);
    expect(lab.entry(PLAIN)).toMatchObject({ systemManagement: 1, write: true, passLint: 3 });
    expect(lab.dte(PLAIN).slice(0, 2)).toEqual(["0x4000000000000001", "0x0000010000000000"]);
  });
});
