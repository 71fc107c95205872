import { PROT_READ, PROT_WRITE, sleep } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { beforeEach, describe, expect, it } from "vitest";
import { cmdCfgiAll, encodeCommand } from "../../src/layout/command.ts";
import { OVERFLOW_FLAG } from "../../src/layout/queue-index.ts";
import { REG } from "../../src/layout/registers.ts";
import { Lab } from "../support/lab.ts";

const RW = PROT_READ | PROT_WRITE;
const SECOND = 1_000_000_000;

describe("a function that does not answer invalidations", () => {
  let lab: Lab;
  let iova: number;

  beforeEach(() => {
    lab = new Lab();
    const host = lab.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
    iova = lab.run(lab.platform.iommu.dma.map(lab.device, host, 1, RW));
    lab.endpoint.dmaWrite(iova, 0, 1);
    lab.endpoint.obeys.completions = false;
    lab.endpoint.obeys.invalidations = false;
  });

  it("the kernel waits one second, complains, and goes on: the page is free, the ATC still has it", () => {
    const start = lab.platform.clock.now;
    const steps = lab.steps(lab.platform.iommu.dma.unmap(lab.device, iova, 1));
    expect(lab.platform.clock.now - start).toBe(SECOND);
    expect(steps.at(-1)).toMatch(/^warn: smmu0: CMD_SYNC timeout/);
    expect(lab.endpoint.atc.size).toBe(1);
    expect(lab.endpoint.dmaWrite(iova, 0, 2).status).toBe("success");
  });

  it("after the hardware gave up too, the handler acknowledges and the SYNC is repeated", () => {
    lab.run(lab.platform.iommu.dma.unmap(lab.device, iova, 1));
    const from = lab.platform.trace.nextId;
    lab.run(sleep(60 * SECOND));
    const events = lab.recorder.events.filter(({ id }) => id >= from);
    expect(events).toContainEqual(expect.objectContaining({ type: "invalidate:timeout", iommu: "smmu0", rid: 0x100 }));
    const results = events.flatMap((event) =>
      event.type === "command:complete" ? [`${event.opcode} ${event.result}`] : [],
    );
    expect(results).toEqual(["ATC_INV timed out", "SYNC CERROR_ATC_INV_SYNC", "SYNC completed"]);
    expect(lab.since(from)).toEqual([
      "warn: smmu0: unexpected global error reported (0x1)",
      expect.stringMatching(/ATC invalidate timeout$/),
    ]);
    expect(lab.hardware.read32(REG.gerror)).toBe(lab.hardware.read32(REG.gerrorn));
  });

  it("meanwhile later commands of others wait behind the SYNC", () => {
    lab.run(lab.platform.iommu.dma.unmap(lab.device, iova, 1));
    const start = lab.platform.clock.now;
    expect(lab.run(lab.smmu.commands.issue([cmdCfgiAll()], true))).toBe(false);
    expect(lab.platform.clock.now - start).toBe(SECOND);
  });
});

describe("the command queue", () => {
  it("turns an illegal command into a SYNC and goes on", () => {
    const lab = new Lab();
    const { commands } = lab.smmu;
    const from = lab.platform.trace.nextId;
    expect(lab.run(commands.issue([encodeCommand("TLBI_EL2_ALL")], true))).toBe(true);
    expect(lab.since(from)).toEqual([
      "TLBI_EL2_ALL + SYNC",
      "warn: smmu0: unexpected global error reported (0x1)",
      expect.stringMatching(/Illegal command$/),
    ]);
    expect(lab.run(commands.issue([cmdCfgiAll()], true))).toBe(true);
  });

  it("is used by several CPUs at once", () => {
    const lab = new Lab();
    const { commands } = lab.smmu;
    for (const indices of [[1], [0, 1, 1], [1, 0, 1, 0], [2, 2, 1, 0, 1, 2]]) {
      let at = 0;
      const outcomes = lab.platform.scheduler.runAll(
        [1, 2, 3].map((cpu) => ({ name: `cpu${cpu}`, op: commands.issue([cmdCfgiAll(), cmdCfgiAll()], true) })),
        { choose: (choices) => (indices[at++ % indices.length] ?? 0) % choices.length },
      );
      expect(outcomes).toEqual([1, 2, 3].map(() => ({ ok: true, value: true })));
    }
    expect(lab.hardware.read32(REG.cmdqProd)).toBe(lab.hardware.read32(REG.cmdqCons));
  });

  it("goes round many times", () => {
    const lab = new Lab({ smmu: { idr: { idr1: 0x00f08510 } } });
    const { commands } = lab.smmu;
    for (let round = 0; round < 50; round += 1) {
      expect(lab.run(commands.issueBatch(Array.from({ length: 100 }, cmdCfgiAll)))).toBe(true);
    }
  });
});

describe("interrupts", () => {
  it("events are taken out of the queue", () => {
    const lab = new Lab();
    lab.endpoint.untranslatedRead(7, 0, NO_PASID);
    expect(lab.hardware.read32(REG.eventqProd)).toBe(1);
    lab.platform.scheduler.settle();
    expect(lab.hardware.read32(REG.eventqCons)).toBe(1);
  });

  it("an overflow of the event queue is acknowledged", () => {
    const lab = new Lab({ smmu: { idr: { idr1: 0x02028510 } } });
    for (let count = 0; count < 6; count += 1) {
      lab.endpoint.untranslatedRead(7, 0, NO_PASID);
    }
    const overflowed = (): boolean =>
      ((lab.hardware.read32(REG.eventqProd) ^ lab.hardware.read32(REG.eventqCons)) & OVERFLOW_FLAG) !== 0;
    expect(overflowed()).toBe(true);
    lab.platform.scheduler.settle();
    expect(overflowed()).toBe(false);
    expect(lab.endpoint.untranslatedRead(7, 0, NO_PASID).recorded).toBe(true);
  });

  it("a page request, which Linux never enables, is denied", () => {
    const lab = new Lab();
    lab.endpoint.obeys.priEnable = false;
    for (const last of [false, true]) {
      lab.hardware.pageRequest({ rid: 0x100, pasid: 5, page: 1, read: true, write: false, last, groupIndex: 3 });
    }
    lab.platform.scheduler.settle();
    expect(lab.recorder.events.filter((event) => event.type === "tlp" && event.kind === "page-response")).toMatchObject(
      [{ rid: 0x100, pasid: 5 }],
    );
    expect(lab.hardware.read32(REG.priqCons)).toBe(2);
  });
});
