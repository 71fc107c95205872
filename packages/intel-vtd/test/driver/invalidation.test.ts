import type { Domain, Plugin } from "@iommu-lab/core";
import { BOOT, Digest, KernelOops, schedule } from "@iommu-lab/core";
import { VTD_UNIT } from "@iommu-lab/intel-vtd";
import { NO_PASID, PCI_BUS, endpointConfig, pciDev, pciTopology } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Machine, NIC, RW, nicConfig } from "./machine.ts";

function unmap(machine: Machine, page: number, count: number): void {
  const domain = machine.device.group?.domain;
  if (domain?.unmap === undefined) {
    throw new Error("no paging domain");
  }
  machine.platform.run(domain.unmap(page, count));
}

function map(machine: Machine, page: number, count: number): number {
  const domain: Domain | undefined = machine.device.group?.domain;
  if (domain?.map === undefined) {
    throw new Error("no paging domain");
  }
  const target = machine.platform.memory.allocate(4096 * count, 4096, "driver", "buffer") / 4096;
  machine.platform.run(domain.map(page, target, count, RW));
  return target;
}

describe("an unmap", () => {
  test("is one batch: IOTLB, then device-TLB, one wait", () => {
    const machine = new Machine();
    map(machine, 0x101, 3);
    machine.acts();
    unmap(machine, 0x101, 3);
    expect(machine.acts()).toEqual(["p_iotlb_inv 0x36 0x100042", "dev_tlb_inv 0x10000000003 0x101001", "wait"]);
  });

  test("in legacy mode too, by domain and page", () => {
    const machine = new Machine({ vtd: { mode: "legacy" } });
    map(machine, 0x100, 1);
    machine.acts();
    unmap(machine, 0x100, 1);
    expect(machine.acts()).toEqual(["iotlb_inv 0xf2 0x100040", "dev_tlb_inv 0x10000000003 0x100000", "wait"]);
  });

  test("of more than the unit can name is domain-selective, and still exact for the device", () => {
    const machine = new Machine({ vtd: { mode: "legacy", cap: 0x80c0008c222f0606n } });
    map(machine, 0x100, 2);
    machine.acts();
    unmap(machine, 0x100, 2);
    expect(machine.acts()).toEqual(["iotlb_inv 0xe2 0x0", "dev_tlb_inv 0x10000000003 0x100001", "wait"]);
  });

  test("takes the page from IOTLB and ATC", () => {
    const machine = new Machine();
    const { endpoint, platform } = machine;
    const target = map(machine, 0x100, 1);
    expect(endpoint.dmaWrite(0x100, 0, 0x1234, NO_PASID).status).toBe("success");
    expect(platform.memory.load32(target * 4096)).toBe(0x1234);
    unmap(machine, 0x100, 1);
    expect(endpoint.dmaWrite(0x100, 0, 0x5678, NO_PASID).status).not.toBe("success");
    expect(platform.memory.load32(target * 4096)).toBe(0x1234);
  });

  test("completions name their submissions", () => {
    const machine = new Machine();
    map(machine, 0x100, 1);
    machine.take();
    unmap(machine, 0x100, 1);
    const events = machine.take();
    const submits = events.filter((event) => event.type === "command:submit").map(({ id }) => id);
    const completes = events.flatMap((event) => (event.type === "command:complete" ? [event.submit] : []));
    expect(completes.toSorted((a, b) => a - b)).toEqual(submits);
  });

  test("reaches every device of the domain in one batch", () => {
    const config = endpointConfig({ ...nicConfig, multiFunction: true });
    const topology = pciTopology({
      rootPorts: [{ rid: 0x0008, endpoint: { rid: NIC, config }, functions: [{ rid: NIC + 1, config }] }],
    });
    const machine = new Machine({ topology });
    map(machine, 0x100, 1);
    machine.acts();
    unmap(machine, 0x100, 1);
    expect(machine.acts()).toEqual([
      "p_iotlb_inv 0x36 0x100040",
      "dev_tlb_inv 0x10000000003 0x100000",
      "dev_tlb_inv 0x10100000003 0x100000",
      "wait",
    ]);
  });

  test("goes to a device twice where the device needs it", () => {
    const qat = { ...nicConfig, vendor: 0x8086, device: 0x4942 };
    const topology = pciTopology({ rootPorts: [{ rid: 0x0008, endpoint: { rid: NIC, config: qat } }] });
    const machine = new Machine({ topology });
    map(machine, 0x100, 1);
    machine.acts();
    unmap(machine, 0x100, 1);
    expect(machine.acts().filter((act) => act.startsWith("dev_tlb"))).toHaveLength(2);
  });
});

describe("caching mode", () => {
  test("what becomes present is flushed: second-stage mappings, entries", () => {
    const machine = new Machine({ vtd: { mode: "legacy", cachingMode: true } });
    machine.acts();
    map(machine, 0x100, 1);
    expect(machine.acts()).toEqual(["iotlb_inv 0xf2 0x100000", "wait"]);
    machine.storeType("identity");
    expect(machine.acts().slice(-5)).toEqual([
      "vtd-context 0x9 0x2",
      "cc_inv 0x10000000031 0x0",
      "wait",
      "iotlb_inv 0xe2 0x0",
      "wait",
    ]);
  });

  test("first-stage mappings need none, PASID entries do", () => {
    const machine = new Machine({ vtd: { cachingMode: true } });
    machine.acts();
    map(machine, 0x100, 1);
    expect(machine.acts()).toEqual([]);
    machine.storeType("identity");
    expect(machine.acts().slice(-5)).toEqual([
      "vtd-pasid 0x109 0x800000 0x0 0x0 0x0 0x0 0x0 0x0",
      "pc_inv 0x17 0x0",
      "wait",
      "p_iotlb_inv 0x26 0x0",
      "wait",
    ]);
  });
});

describe("a function that uses two requester IDs", () => {
  const alias: Plugin = {
    name: "alias",
    register(host) {
      host.add(BOOT, {
        name: "alias quirk",
        order: 250,
        // eslint-disable-next-line require-yield
        *run() {
          const device = host.get(PCI_BUS).deviceAt(NIC);
          if (device !== undefined) {
            pciDev(device).dmaAliases = [0x08];
          }
        },
      });
    },
  };

  test("in legacy mode both have entries, the alias without device-TLB, and both go together", () => {
    const machine = new Machine({ vtd: { mode: "legacy" }, plugins: [alias] });
    machine.acts();
    machine.storeType("identity");
    const acts = machine.acts();
    expect(acts.filter((act) => act.startsWith("vtd-context"))).toEqual([
      "vtd-context 0x4 0x2",
      "vtd-context 0x0 0x0",
      "vtd-context 0x0 0x2",
      "vtd-context 0x0 0x0",
      "vtd-context 0x9 0x2",
      "vtd-context 0x9 0x2",
    ]);
    expect(acts.filter((act) => act.startsWith("cc_inv"))).toEqual([
      "cc_inv 0x10000000031 0x0",
      "cc_inv 0x10800000031 0x0",
    ]);
    expect(acts.filter((act) => act.startsWith("dev_tlb"))).toHaveLength(2);
  });

  test("in scalable mode both share the PASID table", () => {
    const machine = new Machine({ plugins: [alias] });
    const contexts = machine.events.flatMap((event) =>
      event.type === "table:write" && event.kind === "vtd-context" && event.rid >= NIC ? [event.after[0]] : [],
    );
    expect(contexts).toHaveLength(2);
    expect(contexts[0]).toBe(contexts[1]);
  });
});

describe("a device that does not answer", () => {
  test("and is there: the batch is resubmitted until the model calls it a lockup", () => {
    const machine = new Machine();
    map(machine, 0x100, 1);
    machine.endpoint.obeys.completions = false;
    machine.take();
    expect(() => {
      unmap(machine, 0x100, 1);
    }).toThrow(KernelOops);
    const events = machine.take();
    const timeOuts = events.filter((event) => event.type === "command:complete" && event.result === "timed out");
    expect(timeOuts.length).toBe(8);
    expect(machine.platform.clock.now).toBeGreaterThanOrEqual(8 * 90e9);
  });

  test("once, is asked again", () => {
    const machine = new Machine();
    map(machine, 0x100, 1);
    machine.endpoint.obeys.completions = false;
    machine.take();
    machine.platform.trace.subscribe((event) => {
      if (event.type === "command:complete" && event.result === "timed out") {
        machine.endpoint.obeys.completions = true;
      }
    });
    unmap(machine, 0x100, 1);
    const results = machine.take().flatMap((event) => (event.type === "command:complete" ? [event.result] : []));
    expect(results.filter((result) => result !== "completed")).toEqual(["timed out", "aborted"]);
    expect(machine.platform.mmio.read32(0xfed90034)).toBe(0);
  });

  test("because it is gone: the caller goes on", () => {
    const machine = new Machine();
    map(machine, 0x100, 1);
    machine.endpoint.unplug();
    machine.take();
    unmap(machine, 0x100, 1);
    const events = machine.take();
    expect(events.filter((event) => event.type === "invalidate:timeout")).toMatchObject([{ rid: NIC, itag: 0 }]);
    expect(machine.device.group?.domain?.lookup?.(0x100)).toBeUndefined();
  });
});

describe("a refused descriptor", () => {
  test("is replaced by the wait, and the queue goes on", () => {
    const machine = new Machine({ vtd: { mode: "legacy" } });
    const { memory, mmio } = machine.platform;
    const queue = mmio.read32(0xfed90090) & 0xfffff000;
    map(machine, 0x100, 1);
    const slot = queue + mmio.read32(0xfed90088);
    const stop = machine.platform.trace.subscribe((event) => {
      if (event.type === "command:submit" && event.opcode === "inv_wait") {
        memory.store32(slot, 0xf);
      }
    });
    unmap(machine, 0x100, 1);
    stop();
    expect(mmio.read32(0xfed90034)).toBe(0);
    expect(machine.events.some((event) => event.type === "warn" && event.what.includes("reason 3"))).toBe(true);
    map(machine, 0x200, 1);
    unmap(machine, 0x200, 1);
    expect(mmio.read32(0xfed90080)).toBe(mmio.read32(0xfed90088));
  });
});

describe("two CPUs", () => {
  test("whatever the schedule, both batches complete and nothing stays reachable", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { maxLength: 60 }), (choices) => {
        const machine = new Machine();
        map(machine, 0x100, 1);
        map(machine, 0x200, 1);
        machine.endpoint.dmaWrite(0x100, 0, 1, NO_PASID);
        machine.endpoint.dmaWrite(0x200, 0, 1, NO_PASID);
        const domain = machine.device.group?.domain;
        const ops = [0x100, 0x200].map((page) => ({ name: `unmap ${page}`, op: domain?.unmap?.(page, 1) }));
        const runnable = ops.flatMap(({ name, op }) => (op === undefined ? [] : [{ name, op }]));
        const outcomes = machine.platform.scheduler.runAll(runnable, schedule(choices));
        expect(outcomes.map((outcome) => outcome.ok)).toEqual([true, true]);
        expect(machine.endpoint.dmaWrite(0x100, 0, 1, NO_PASID).status).not.toBe("success");
        expect(machine.endpoint.dmaWrite(0x200, 0, 1, NO_PASID).status).not.toBe("success");
      }),
      { numRuns: 40 },
    );
  });

  test("an attach against a hostile device's writes: no schedule shows it another domain's page", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 80 }), (choices) => {
        const machine = new Machine({ vtd: { mode: "legacy" } });
        const target = map(machine, 0x100, 1);
        const { endpoint, platform } = machine;
        const seen: number[] = [];
        const stop = platform.trace.subscribe((event) => {
          if (event.type === "domain:attached") {
            const { status } = endpoint.untranslatedWrite(0x100, 0, 0xbad, NO_PASID);
            seen.push(status === "success" ? 1 : 0);
          }
        });
        const { group } = machine.device;
        if (group === undefined) {
          throw new Error("no group");
        }
        platform.scheduler.runAll([{ name: "type", op: platform.iommu.storeType(group, "DMA") }], schedule(choices));
        stop();
        expect(seen).toEqual([0]);
        expect(platform.memory.load32(target * 4096)).toBe(0);
      }),
      { numRuns: 10 },
    );
  });
});

describe("the state of a machine as a digest", () => {
  function digestOf(machine: Machine): string {
    const digest = new Digest();
    machine.platform.host.get(VTD_UNIT).digest(digest);
    return digest.value;
  }

  test("is the same for the same history and differs by what a cache remembers", () => {
    const one = new Machine();
    const other = new Machine();
    for (const machine of [one, other]) {
      map(machine, 0x100, 1);
    }
    expect(digestOf(one)).toBe(digestOf(other));
    one.endpoint.untranslatedWrite(0x100, 0, 1, NO_PASID);
    expect(digestOf(one)).not.toBe(digestOf(other));
  });
});
