import type { Op } from "@iommu-lab/core";
import { createPlatform, linux, schedule } from "@iommu-lab/core";
import { AMD_IOMMUS, amdvi } from "@iommu-lab/amd-vi";
import { FABRIC, PCI_BUS, endpointConfig, pci, pciTopology } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BARE, Lab, NIC, PLAIN, RW, USER_PAGE } from "./lab.ts";

describe("several operations at once", () => {
  test("under any schedule all end, and at rest ATS Enable and permission agree", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { maxLength: 200 }), (choices) => {
        const lab = new Lab().boot();
        const { iommu, scheduler } = lab.platform;
        const target = lab.buffer();
        const domain = lab.paging(PLAIN, target);
        const { identity, blocked } = iommu.driver ?? {};
        if (identity === undefined || blocked === undefined) {
          throw new Error("no driver");
        }
        function* switchTwice(rid: number): Op<void> {
          yield* iommu.setGroupDomain(lab.group(rid), blocked ?? domain);
          yield* iommu.setGroupDomain(lab.group(rid), identity ?? domain);
        }
        function* unmap(): Op<void> {
          yield* iommu.setGroupDomain(lab.group(BARE), domain);
          yield* domain.unmap?.(USER_PAGE, 1) ?? switchTwice(BARE);
        }
        const outcomes = scheduler.runAll(
          [
            { name: "nic", op: switchTwice(NIC) },
            { name: "plain", op: switchTwice(PLAIN) },
            { name: "bare", op: unmap() },
          ],
          schedule(choices),
        );
        expect(outcomes.map(({ ok }) => ok)).toEqual([true, true, true]);
        for (const rid of [NIC, PLAIN, BARE]) {
          expect(lab.endpoint(rid).atsEnabled).toBe(lab.entry(rid).iotlb);
        }
        expect(lab.endpoint(BARE).untranslatedWrite(USER_PAGE, 0, 1).status).toBe("CA");
        expect(lab.traced("command:submit").length).toBe(lab.traced("command:complete").length);
      }),
      { numRuns: 25 },
    );
  });

  test("a page is out of reach once its unmap has returned, whatever the device does meanwhile", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 60 }), fc.boolean(), (choices, pasid) => {
        const lab = new Lab().boot();
        const domain = lab.paging(NIC, lab.buffer(), pasid);
        lab.attach(NIC, domain);
        const endpoint = lab.endpoint(NIC);
        function* work(): Op<void> {
          for (let index = 0; index < 4; index += 1) {
            yield { kind: "preempt" };
            endpoint.dmaWrite(USER_PAGE, 0, index);
            endpoint.untranslatedWrite(USER_PAGE, 4, index);
          }
        }
        let after = "";
        function* unmap(): Op<void> {
          yield* domain.unmap?.(USER_PAGE, 1) ?? work();
          after = `${endpoint.dmaWrite(USER_PAGE, 0, 9).status} ${endpoint.untranslatedWrite(USER_PAGE, 0, 9).status}`;
        }
        lab.platform.scheduler.runAll<void>(
          [
            { name: "unmap", op: unmap() },
            { name: "device", op: work() },
          ],
          schedule(choices),
        );
        expect(after).toBe("CA CA");
      }),
      { numRuns: 60 },
    );
  });
});

test("two units: each takes the commands of its own devices, a shared domain those of both", () => {
  const config = endpointConfig({
    vendor: 0x1af4,
    device: 0x1041,
    class: 0x020000,
    ats: { queueDepth: 32, pageAligned: true },
  });
  const topology = pciTopology({
    rootPorts: [1, 2].map((bus) => ({ bdf: `00:0${bus}.0`, endpoint: { rid: bus << 8, config } })),
  });
  const near = [{ first: 0, last: 0x1ff }];
  const far = [{ first: 0x200, last: 0xffff }];
  const units = amdvi({ devices: near }, { devices: far });
  const platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), units] });
  const seen: string[] = [];
  platform.trace.subscribe((event) => {
    if (event.type === "command:submit") {
      seen.push(`${event.iommu} ${event.opcode}`);
    }
  });
  platform.boot();
  const bus = platform.host.get(PCI_BUS);
  const devices = [0x100, 0x200].map((rid) => bus.deviceAt(rid));
  const [first] = devices;
  if (first === undefined) {
    throw new Error("no device");
  }
  const domain = platform.iommu.allocPaging(first, { pasid: false });
  const target = platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
  platform.run(domain.map?.(USER_PAGE, target, 1, RW) ?? platform.iommu.removeDevice(first));
  for (const device of devices) {
    if (device?.group !== undefined) {
      platform.run(platform.iommu.setGroupDomain(device.group, domain));
    }
  }
  expect(platform.host.get(AMD_IOMMUS).map(({ name }) => name)).toEqual(["ivhd0", "ivhd1"]);
  for (const rid of [0x100, 0x200]) {
    expect(platform.host.get(FABRIC).endpoint(rid).dmaWrite(USER_PAGE, 0, rid).status).toBe("success");
  }
  seen.length = 0;
  expect(domain.unmap === undefined ? 0 : platform.run(domain.unmap(USER_PAGE, 1))).toBe(1);
  expect(seen).toEqual([
    "ivhd0 INVALIDATE_IOMMU_PAGES",
    "ivhd1 INVALIDATE_IOMMU_PAGES",
    "ivhd1 INVALIDATE_IOTLB_PAGES",
    "ivhd0 INVALIDATE_IOTLB_PAGES",
    "ivhd0 COMPLETION_WAIT",
    "ivhd1 COMPLETION_WAIT",
  ]);
  for (const rid of [0x100, 0x200]) {
    expect(platform.host.get(FABRIC).endpoint(rid).dmaWrite(USER_PAGE, 0, rid).status).toBe("CA");
  }
});
