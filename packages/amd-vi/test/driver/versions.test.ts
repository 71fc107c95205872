import { InputError, KernelError } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import { Lab, NIC, PLAIN, USER_PAGE } from "./lab.ts";

const DTE = /^dte 0x([0-9a-f]+) 0x([0-9a-f]+)$/;
const commands: Readonly<Record<string, string>> = { "2": "devtab", "3": "pages", "4": "iotlb" };

/** DTE lines as V, TV, permission, mode and I; commands by name. */
function named(lines: readonly string[]): string[] {
  return lines.map((line) => {
    const match = DTE.exec(line);
    if (match === null) {
      return line.startsWith("0x") ? (commands[line.at(2) ?? ""] ?? line) : line;
    }
    const low = BigInt(`0x${match[1]}`);
    const permission = (low >> 61n) & 3n;
    return `dte TV=${(low >> 1n) & 1n} perm=${permission} mode=${(low >> 9n) & 7n} I=${(BigInt(`0x${match[2]}`) >> 32n) & 1n}`;
  });
}

function errno(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof KernelError) {
      return error.errno;
    }
    throw error;
  }
  return "0";
}

describe("Linux 6.12 (linux-ats-by-vendor §5.1)", () => {
  const lab = (): Lab => new Lab({ version: "6.12" }).boot();

  test("BLOCKED keeps I: ATS off, no permission, and Translated requests are not stopped by I", () => {
    const made = lab();
    const lines = named(made.watch(() => made.run(made.platform.iommu.claimGroup(made.group(PLAIN), "user"))));
    expect(lines.slice(0, 8)).toEqual([
      "ats-",
      // Two stores of 64 bits: the first word goes first.
      "dte TV=1 perm=0 mode=0 I=1",
      "dte TV=1 perm=0 mode=0 I=1",
      "devtab",
      "wait",
      "pages",
      "wait",
      "devtab",
    ]);
    expect(made.entry(PLAIN)).toMatchObject({
      valid: true,
      translationValid: true,
      read: false,
      write: false,
      iotlb: true,
    });
  });

  test("attach: ATS, then two stores, one invalidation with its ATC", () => {
    const made = lab();
    made.run(made.platform.iommu.claimGroup(made.group(PLAIN), "user"));
    const lines = named(made.watch(() => made.run(made.platform.iommu.releaseGroup(made.group(PLAIN)))));
    expect(lines).toEqual([
      "ats+",
      "dte TV=1 perm=0 mode=0 I=1",
      "dte TV=1 perm=3 mode=3 I=1",
      "devtab",
      "iotlb",
      "wait",
    ]);
  });

  test("IDENTITY has a domain of its own in each group, given back when the type changes", () => {
    const made = new Lab({ version: "6.12", kernel: { cmdline: "iommu.passthrough=1" } }).boot();
    const [first, second] = [made.group(NIC).domain, made.group(PLAIN).domain];
    expect([first?.type, second?.type]).toEqual(["IDENTITY", "IDENTITY"]);
    expect(first).not.toBe(second);
    expect(made.platform.iommu.driver?.identity).toBeUndefined();
    made.run(made.platform.iommu.storeType(made.group(PLAIN), "DMA"));
    expect(made.group(PLAIN).domain?.type).toBe("DMA");
  });

  test("SVA on IDENTITY; removal by the driver's own operation", () => {
    const made = lab();
    const core = made.platform.iommu;
    const page = made.buffer();
    expect(made.group(NIC).domain?.type).toBe("IDENTITY");
    made.run(core.attachPasid(core.allocSva(made.device(NIC), made.process(page)), made.device(NIC), 5));
    expect(made.endpoint(NIC).untranslatedWrite(0x12345, 0, 7, 5).status).toBe("success");
    made.run(core.detachPasid(made.device(NIC), 5));
    expect(made.endpoint(NIC).untranslatedWrite(0x12345, 0, 7, 5).status).not.toBe("success");
  });

  test("release: the driver unbinds; I stays in the entry", () => {
    const made = lab();
    const lines = named(made.watch(() => made.run(made.bus.remove(made.device(PLAIN)))));
    expect(lines.filter((line) => /^(?:ats|dte)/.test(line))).toEqual([
      "ats-",
      "dte TV=1 perm=0 mode=0 I=1",
      "dte TV=1 perm=0 mode=0 I=1",
    ]);
  });

  test("domains of users have v1 tables even with pgtbl_v2", () => {
    const made = new Lab({ version: "6.12", kernel: { cmdline: "amd_iommu=pgtbl_v2" } }).boot();
    const domain = made.platform.iommu.allocPaging(made.device(PLAIN), { pasid: false });
    made.attach(PLAIN, domain);
    expect(made.entry(PLAIN)).toMatchObject({ guestValid: false, mode: 3 });
  });
});

describe("Linux 6.1 (linux-ats-by-vendor §6.1)", () => {
  const lab = (): Lab => new Lab({ version: "6.1" }).boot();

  test("ATS needs neither GT nor PPR", () => {
    const made = new Lab({ version: "6.1", gt: false, ppr: false }).boot();
    expect(made.platform.iommu.driver?.believesAtsEnabled(made.device(PLAIN))).toBe(true);
    expect(new Lab({ version: "6.12", gt: false, ppr: false }).boot().entry(PLAIN).iotlb).toBe(false);
  });

  test("a switch: DTE blocked, ATC and domain invalidated while ATS is on, ATS off; then ATS on, DTE, domain", () => {
    const made = lab();
    const domain = made.paging(PLAIN, made.buffer());
    const lines = named(made.watch(() => made.attach(PLAIN, domain)));
    expect(lines).toEqual([
      "dte TV=1 perm=0 mode=0 I=1",
      "dte TV=1 perm=0 mode=0 I=1",
      "devtab",
      "iotlb",
      "pages",
      "wait",
      "ats-",
      "ats+",
      "dte TV=1 perm=0 mode=0 I=1",
      "dte TV=1 perm=3 mode=3 I=1",
      "devtab",
      "iotlb",
      "pages",
      "iotlb",
      "wait",
    ]);
  });

  test("a claim attaches an empty paging domain: ATS on, nothing reachable", () => {
    const made = lab();
    made.run(made.platform.iommu.claimGroup(made.group(PLAIN), "user"));
    expect(made.group(PLAIN).domain?.type).toBe("UNMANAGED");
    expect(made.platform.iommu.driver?.believesAtsEnabled(made.device(PLAIN))).toBe(true);
    expect(made.endpoint(PLAIN).untranslatedWrite(0x12345, 0, 7).status).not.toBe("success");
  });

  test("a device with ATS, PRI and PASID is put on IDENTITY; the core attaches no PASID", () => {
    const made = lab();
    const core = made.platform.iommu;
    expect(made.group(NIC).domain?.type).toBe("IDENTITY");
    expect(errno(() => core.allocSva(made.device(NIC), made.process(made.buffer())))).toBe("EOPNOTSUPP");
  });

  test("that device has PPR in its entry, whatever its domain; others have not", () => {
    const made = lab();
    expect(made.entry(NIC)).toMatchObject({ pageRequests: true, guestValid: false });
    made.attach(NIC, made.paging(NIC, made.buffer()));
    expect(made.entry(NIC)).toMatchObject({ pageRequests: true, guestValid: false });
    expect(made.entry(PLAIN).pageRequests).toBe(false);
    expect(made.endpoint(NIC).untranslatedWrite(USER_PAGE, 0, 1).status).toBe("success");
  });

  test("release: blocked, invalidated, ATS off", () => {
    const made = lab();
    const lines = named(made.watch(() => made.run(made.bus.remove(made.device(PLAIN)))));
    expect(lines).toEqual([
      "dte TV=1 perm=0 mode=0 I=1",
      "dte TV=1 perm=0 mode=0 I=1",
      "devtab",
      "iotlb",
      "pages",
      "wait",
      "ats-",
    ]);
  });

  test("guest tables are refused with the way out", () => {
    const boot = (): Lab => new Lab({ version: "6.1", kernel: { cmdline: "amd_iommu=pgtbl_v2" } }).boot();
    expect(boot).toThrow(InputError);
    expect(boot).toThrow(/not modelled; leave it out/);
  });
});

describe("what versions do otherwise than others", () => {
  const PDE = 2n;
  const SIZE = 1n;

  test.each([
    ["6.1", SIZE | PDE],
    ["6.12", SIZE | PDE],
    ["7.2", SIZE],
  ])("%s: whether an unmap invalidates entries of upper tables", (version, flags) => {
    const made = new Lab({ version }).boot();
    const domain = made.paging(PLAIN, made.buffer());
    made.attach(PLAIN, domain);
    if (domain.map === undefined || domain.unmap === undefined) {
      throw new Error("no paging domain");
    }
    made.run(domain.map(USER_PAGE + 1, made.buffer(), 1, 3));
    const { unmap } = domain;
    const [first] = made.watch(() => made.run(unmap.call(domain, USER_PAGE, 2)));
    expect(BigInt(first?.split(" ")[1] ?? "0") & 7n).toBe(flags);
  });

  test.each(["6.1", "6.12", "7.2"])("%s: a blocked entry and erratum 63", (version) => {
    const made = new Lab({ version, settings: [{ first: PLAIN, last: PLAIN, setting: 0x10 }] }).boot();
    made.run(made.platform.iommu.claimGroup(made.group(PLAIN), "user"));
    expect(made.entry(PLAIN)).toMatchObject({ systemManagement: 1, write: true });
  });

  test.each([
    ["6.1", ["0x340", "0x200", "0x340"]],
    ["6.12", ["0x340", "0x200", "0x340"]],
    ["7.2", ["0x200", "0x340", "0x200", "0x340"]],
  ])("%s: an alias on another bus gets the entry, and its invalidations last", (version, targets) => {
    const made = new Lab({ version, aliases: [{ rid: PLAIN, alias: 0x340 }] }).boot();
    const domain = made.paging(PLAIN, made.buffer());
    const seen: string[] = [];
    made.platform.trace.subscribe((event) => {
      if (event.type === "command:submit" && event.opcode === "INVALIDATE_DEVTAB_ENTRY") {
        seen.push(`0x${(BigInt(event.words[0] ?? "0") & 0xffffn).toString(16)}`);
      }
    });
    made.attach(PLAIN, domain);
    expect(made.entry(0x340)).toMatchObject({ domainId: made.entry(PLAIN).domainId, read: true, write: true });
    expect(seen.slice(-targets.length)).toEqual(targets);
  });
});
