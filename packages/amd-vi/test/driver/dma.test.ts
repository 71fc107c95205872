import { STATUS, STATUS_EVENT_RUN } from "../registers.ts";
import { sleep } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import { BARE, BASE, Lab, NIC, PLAIN, RW, USER_PAGE } from "./lab.ts";

const PAGE = 4096;

function memory(lab: Lab, page: number): number {
  return lab.platform.memory.load32(page * PAGE);
}

describe("DMA", () => {
  test.each([NIC, PLAIN, BARE])("device %i reaches what is mapped for it", (rid) => {
    const lab = new Lab().boot();
    const target = lab.buffer();
    const iova = lab.run(lab.platform.iommu.dma.map(lab.device(rid), target, 1, RW));
    expect(lab.endpoint(rid).dmaWrite(iova, 0, 0xcafe).status).toBe("success");
    expect(memory(lab, target)).toBe(0xcafe);
    expect(lab.endpoint(rid).dmaRead(iova, 0).value).toBe(0xcafe);
  });

  test("and with a DMA domain nothing else", () => {
    const lab = new Lab().boot();
    const other = lab.buffer();
    expect(lab.endpoint(BARE).untranslatedWrite(other, 0, 1)).toMatchObject({ status: "CA", recorded: true });
    expect(memory(lab, other)).toBe(0);
  });

  test.each([
    ["v1", false],
    ["v2", true],
  ])("unmapped, a page is out of reach for IOTLB and ATC: %s", (_name, pasid) => {
    const lab = new Lab().boot();
    const target = lab.buffer();
    const domain = lab.paging(NIC, target, pasid);
    lab.attach(NIC, domain);
    const endpoint = lab.endpoint(NIC);
    endpoint.dmaWrite(USER_PAGE, 0, 1);
    endpoint.untranslatedWrite(USER_PAGE, 0, 2);
    expect([endpoint.atc.size, memory(lab, target)]).toEqual([1, 2]);
    const lines = lab.watch(() => {
      if (domain.unmap !== undefined) {
        expect(lab.run(domain.unmap(USER_PAGE, 1))).toBe(1);
      }
    });
    const id = lab.entry(NIC).domainId.toString(16).padStart(4, "0");
    const guest = pasid ? "4" : "0";
    expect(lines).toEqual([`0x3000${id}00000000 0x1234500${guest}`, `0x4000010020000100 0x1234500${guest}`, "wait"]);
    expect(endpoint.atc.size).toBe(0);
    expect(endpoint.dmaWrite(USER_PAGE, 0, 3).status).toBe("CA");
    expect(memory(lab, target)).toBe(2);
  });

  test("PASID 0 in the invalidation of a v2 domain, read the other way: the ATC keeps the page", () => {
    const lab = new Lab({ open: { guestIoInvalidation: "with-pasid" } }).boot();
    const target = lab.buffer();
    const domain = lab.paging(NIC, target, true);
    lab.attach(NIC, domain);
    const endpoint = lab.endpoint(NIC);
    endpoint.dmaWrite(USER_PAGE, 0, 1);
    if (domain.unmap !== undefined) {
      lab.run(domain.unmap(USER_PAGE, 1));
    }
    expect(endpoint.atc.size).toBe(1);
    expect(endpoint.dmaWrite(USER_PAGE, 0, 3).status).toBe("success");
  });

  test("pages that were not mapped need no invalidation", () => {
    const lab = new Lab().boot();
    const domain = lab.paging(PLAIN, lab.buffer());
    expect(
      lab.watch(() => {
        expect(domain.unmap === undefined ? -1 : lab.run(domain.unmap(0x999, 4))).toBe(0);
      }),
    ).toEqual([]);
  });

  test("every device of a domain is told", () => {
    const lab = new Lab().boot();
    const target = lab.buffer();
    const domain = lab.paging(PLAIN, target);
    lab.attach(PLAIN, domain);
    lab.attach(NIC, domain);
    const lines = lab.watch(() => {
      if (domain.unmap !== undefined) {
        lab.run(domain.unmap(USER_PAGE, 1));
      }
    });
    const id = lab.entry(NIC).domainId.toString(16).padStart(4, "0");
    expect(lines).toEqual([
      `0x3000${id}00000000 0x12345000`,
      "0x4000010020000100 0x12345000",
      "0x4000020020000200 0x12345000",
      "wait",
    ]);
  });
});

describe("NpCache", () => {
  test("mapping invalidates too, and ranges are cut into aligned pieces", () => {
    const lab = new Lab({ npCache: true }).boot();
    const domain = lab.paging(PLAIN, lab.buffer());
    lab.attach(PLAIN, domain);
    const id = lab.entry(PLAIN).domainId.toString(16).padStart(4, "0");
    const lines = lab.watch(() => {
      if (domain.map !== undefined) {
        lab.run(domain.map(0x1003, lab.buffer(), 6, RW));
      }
    });
    const pages = (address: string): string => `0x3000${id}00000000 ${address}`;
    const device = (address: string): string => `0x4000020020000200 ${address}`;
    expect(lines).toEqual([
      pages("0x1003002"),
      device("0x1003000"),
      pages("0x1005003"),
      device("0x1005001"),
      pages("0x1008002"),
      device("0x1008000"),
      "wait",
    ]);
  });

  test("a page that was asked for too early is found after it is mapped", () => {
    const lab = new Lab({ npCache: true }).boot();
    const domain = lab.paging(PLAIN, lab.buffer());
    lab.attach(PLAIN, domain);
    expect(lab.endpoint(PLAIN).untranslatedWrite(0x1003, 0, 1).status).toBe("CA");
    if (domain.map !== undefined) {
      lab.run(domain.map(0x1003, lab.buffer(), 1, RW));
    }
    expect(lab.endpoint(PLAIN).untranslatedWrite(0x1003, 0, 1).status).toBe("success");
  });
});

describe("a device that never completes an invalidation", () => {
  test("the driver gives up after 100 ms and goes on; the unit after 1 s", () => {
    const lab = new Lab().boot();
    const target = lab.buffer();
    const domain = lab.paging(PLAIN, target);
    lab.attach(PLAIN, domain);
    const endpoint = lab.endpoint(PLAIN);
    endpoint.dmaWrite(USER_PAGE, 0, 1);
    endpoint.obeys.invalidations = false;
    endpoint.obeys.completions = false;
    const { clock } = lab.platform;
    const start = clock.now;
    if (domain.unmap !== undefined) {
      expect(lab.run(domain.unmap(USER_PAGE, 1))).toBe(1);
    }
    expect(clock.now - start).toBe(100_000_000);
    expect(lab.traced("warn").at(-1)?.what).toContain("Completion-Wait loop timed out");
    expect(endpoint.dmaWrite(USER_PAGE, 0, 2).status).toBe("success");
    expect(lab.traced("invalidate:timeout")).toEqual([]);
    while (lab.traced("invalidate:timeout").length === 0 && clock.now - start < 2_000_000_000) {
      lab.run(sleep(100_000_000));
    }
    expect(clock.now - start).toBe(1_000_000_000);
  });
});

describe("event log", () => {
  test("its thread empties it, so that a thousand faults are all recorded", () => {
    const lab = new Lab().boot();
    const endpoint = lab.endpoint(BARE);
    let recorded = 0;
    for (let index = 0; index < 1000; index += 1) {
      recorded += endpoint.untranslatedWrite(0x5000 + index, 0, 1).recorded ? 1 : 0;
      lab.platform.scheduler.settle();
    }
    expect(recorded).toBe(1000);
  });

  test("when it overflows before the thread runs it starts again afterwards", () => {
    const lab = new Lab().boot();
    const endpoint = lab.endpoint(BARE);
    const recorded = Array.from(
      { length: 600 },
      (_, index) => endpoint.untranslatedWrite(0x5000 + index, 0, 1).recorded,
    );
    expect(recorded.filter(Boolean)).toHaveLength(511);
    lab.platform.scheduler.settle();
    expect(lab.platform.mmio.read32(BASE + STATUS) & STATUS_EVENT_RUN).toBe(STATUS_EVENT_RUN);
    expect(endpoint.untranslatedWrite(0x5000, 0, 1).recorded).toBe(true);
  });
});
