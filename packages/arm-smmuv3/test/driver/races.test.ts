import type { Op } from "@iommu-lab/core";
import { PROT_READ, PROT_WRITE, preempt, schedule } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lab } from "../support/lab.ts";

const RW = PROT_READ | PROT_WRITE;

/** A device that reads page 7 again and again. */
function* reads(lab: Lab, seen: (number | undefined)[]): Op<void> {
  for (let count = 0; count < 20; count += 1) {
    seen.push(lab.endpoint.dmaRead(7, 0).value);
    yield preempt;
  }
}

describe("several CPUs at once, under any schedule", () => {
  const schedules = fc.array(fc.nat({ max: 3 }), { maxLength: 60 });

  it("a page that is unmapped while the RID moves is gone from TLB and ATC", () => {
    fc.assert(
      fc.property(schedules, fc.boolean(), (indices, identity) => {
        const lab = new Lab();
        const { iommu, memory, scheduler } = lab.platform;
        const host = memory.allocate(4096, 4096, "test", "buffer") / 4096;
        const { domain } = lab.group;
        if (domain?.map === undefined || domain.unmap === undefined) {
          throw new Error("no paging domain");
        }
        lab.run(domain.map(7, host, 1, RW));
        lab.endpoint.dmaWrite(7, 0, 1);
        const other = iommu.allocPaging(lab.device, { pasid: false });
        const next = identity ? iommu.blockingDomain(lab.group) : other;
        const outcomes = scheduler.runAll<unknown>(
          [
            { name: "unmap", op: domain.unmap(7, 1) },
            { name: "attach", op: iommu.setGroupDomain(lab.group, next) },
          ],
          schedule(indices),
        );
        expect(outcomes.every((one) => one.ok)).toBe(true);
        expect(lab.endpoint.atc.size).toBe(0);
        expect(lab.endpoint.dmaWrite(7, 0, 2).status).toBe("UR");
        expect(memory.load32(host * 4096)).toBe(1);
        expect(lab.atsEnabled).toBe(!identity);
        // Back on the old domain nothing is found either.
        lab.run(iommu.setGroupDomain(lab.group, domain));
        expect(lab.endpoint.dmaWrite(7, 0, 2).status).toBe("UR");
      }),
      { numRuns: 40 },
    );
  });

  it("a device that works while its RID moves between domains reaches old or new memory, or nothing", () => {
    fc.assert(
      fc.property(schedules, (indices) => {
        const lab = new Lab();
        const { iommu, memory, scheduler } = lab.platform;
        const [old, fresh] = [1, 2].map(() => memory.allocate(4096, 4096, "test", "buffer") / 4096);
        const { domain } = lab.group;
        const other = iommu.allocPaging(lab.device, { pasid: false });
        if (domain?.map === undefined || other.map === undefined || old === undefined || fresh === undefined) {
          throw new Error("no paging domain");
        }
        lab.run(domain.map(7, old, 1, RW));
        lab.run(other.map(7, fresh, 1, RW));
        memory.store32(old * 4096, 0xaa);
        memory.store32(fresh * 4096, 0xbb);
        const seen: (number | undefined)[] = [];
        scheduler.runAll<unknown>(
          [
            { name: "attach", op: iommu.setGroupDomain(lab.group, other) },
            { name: "device", op: reads(lab, seen) },
          ],
          schedule(indices),
        );
        expect(seen.every((value) => value === undefined || value === 0xaa || value === 0xbb)).toBe(true);
        expect(lab.endpoint.dmaRead(7, 0).value).toBe(0xbb);
      }),
      { numRuns: 40 },
    );
  });
});
