import { KernelError, Process, x86_64 } from "@iommu-lab/core";
import type { Domain } from "@iommu-lab/core";
import { vtdTrackPasids } from "@iommu-lab/intel-vtd";
import { endpointConfig, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, RW, nicConfig, oneDevice } from "./machine.ts";

const PASID = 5;
const setUp = "vtd-pasid 0x49 0x800000 0x0 0x0 0x0 0x0 0x0 0x0";
const cleared = "vtd-pasid 0x48 0x800000 0x0 0x0 0x0 0x0 0x0 0x0";
const zeroed = "vtd-pasid 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0";
const tornDown = [
  cleared,
  "pc_inv 0x500000017 0x0",
  "wait",
  "p_iotlb_inv 0x500000026 0x0",
  "wait",
  "p_dev_tlb_inv 0x501000008 0x7ffffffffffff800",
  "wait",
  zeroed,
];

function paging(machine: Machine, pages: readonly number[] = [0x10]): Domain {
  const domain = machine.platform.iommu.allocPaging(machine.device, { pasid: true });
  for (const page of pages) {
    const target = machine.platform.memory.allocate(4096, 4096, "user", "page") / 4096;
    if (domain.map !== undefined) {
      machine.platform.run(domain.map(page, target, 1, RW));
    }
  }
  return domain;
}

function attach(machine: Machine, domain: Domain, pasid = PASID): void {
  machine.platform.run(machine.platform.iommu.attachPasid(domain, machine.device, pasid));
}

function errnoOf(act: () => unknown): string {
  try {
    act();
    return "0";
  } catch (error) {
    return error instanceof KernelError ? error.errno : String(error);
  }
}

describe("paging domains on PASIDs", () => {
  test("attach writes the entry, detach tears it down; the RID is not touched", () => {
    const machine = new Machine({ cmdline: "iommu.passthrough=1" });
    const domain = paging(machine);
    machine.acts();
    attach(machine, domain);
    expect(machine.acts()).toEqual([setUp]);
    expect([machine.write(0x10, PASID), machine.write(0x11, PASID), machine.write(0x10, 6)]).toEqual([
      "success",
      "UR",
      "UR",
    ]);
    machine.acts();
    machine.platform.run(machine.platform.iommu.detachPasid(machine.device, PASID));
    expect(machine.acts()).toEqual(tornDown);
    expect(machine.write(0x10, PASID)).toBe("UR");
    expect(machine.believes).toBe(true);
  });

  test("a replacement is a tear-down and a set-up", () => {
    const machine = new Machine();
    attach(machine, paging(machine));
    const other = paging(machine, [0x20]);
    machine.acts();
    machine.platform.run(machine.platform.iommu.replacePasid(other, machine.device, PASID));
    expect(machine.acts()).toEqual([...tornDown, setUp]);
    expect([machine.write(0x10, PASID), machine.write(0x20, PASID)]).toEqual(["UR", "success"]);
  });

  test("a reset parks PASIDs and brings them back", () => {
    const machine = new Machine({ cmdline: "iommu.passthrough=1" });
    attach(machine, paging(machine));
    machine.acts();
    const { iommu } = machine.platform;
    machine.platform.run(iommu.resetPrepare(machine.device));
    expect(machine.acts()).toEqual(expect.arrayContaining(tornDown));
    expect(machine.write(0x10, PASID)).toBe("UR");
    machine.platform.run(iommu.resetDone(machine.device));
    expect(machine.write(0x10, PASID)).toBe("success");
  });

  test("one domain on RID and PASID has one ID and caches for both", () => {
    const machine = new Machine();
    const domain = paging(machine, [0x10]);
    const { group } = machine.device;
    const { platform } = machine;
    if (group === undefined || domain.unmap === undefined) {
      throw new Error("no group");
    }
    platform.run(platform.iommu.setGroupDomain(group, domain));
    attach(machine, domain);
    machine.acts();
    platform.run(domain.unmap(0x10, 1));
    expect(machine.acts()).toEqual([
      "p_iotlb_inv 0x36 0x10040",
      "dev_tlb_inv 0x10000000003 0x10000",
      "p_iotlb_inv 0x500000036 0x10040",
      "p_dev_tlb_inv 0x501000008 0x10000",
      "wait",
    ]);
  });

  test("second-stage tables on a unit without first stage", () => {
    const machine = new Machine({ vtd: { firstStage: false } });
    const domain = paging(machine);
    machine.acts();
    attach(machine, domain);
    expect(machine.acts()).toEqual(["vtd-pasid 0x89 0x800000 0x0 0x0 0x0 0x0 0x0 0x0"]);
    expect(machine.write(0x10, PASID)).toBe("success");
    machine.platform.run(machine.platform.iommu.detachPasid(machine.device, PASID));
    expect(machine.acts()).toContain("iotlb_inv 0xe2 0x0");
  });

  test("IDENTITY on a PASID", () => {
    const machine = new Machine();
    const { identity } = machine.device.iommu?.driver ?? {};
    if (identity === undefined) {
      throw new Error("no identity domain");
    }
    attach(machine, identity);
    expect(machine.acts()).toContain("vtd-pasid 0x109 0x800000 0x0 0x0 0x0 0x0 0x0 0x0");
    expect(machine.write(machine.platform.memory.base / 4096, PASID)).toBe("success");
  });

  test("legacy mode has none", () => {
    const machine = new Machine({ vtd: { mode: "legacy" } });
    const domain = paging(machine);
    expect(
      errnoOf(
        () => domain.setPasid !== undefined && machine.platform.run(domain.setPasid(machine.device, 1, undefined)),
      ),
    ).toBe("EOPNOTSUPP");
  });

  test("PASIDs beyond the directory of a small device cannot be attached", () => {
    const narrow = { ...nicConfig, pasid: { width: 8, exec: false, priv: false } };
    const machine = new Machine({ topology: oneDevice(narrow) });
    expect(errnoOf(() => attach(machine, paging(machine), 256))).toBe("EINVAL");
    expect(errnoOf(() => attach(machine, paging(machine), 255))).toBe("0");
  });
});

describe("the PASID directory", () => {
  test.each([
    ["without PASIDs", undefined, 2],
    ["8 bits", 8, 2],
    ["16 bits", 16, 3],
    ["20 bits", 20, 7],
  ])("%s", (_name, width, pdts) => {
    const { pasid, ...plain } = nicConfig;
    const config = width === undefined ? plain : { ...plain, pasid: { ...pasid, width, exec: true, priv: true } };
    const machine = new Machine({ topology: oneDevice(config) });
    const context = machine.events.find(
      (event) => event.type === "table:write" && event.kind === "vtd-context" && event.rid === NIC,
    );
    expect(context?.type === "table:write" ? Number((BigInt(context.after[0] ?? "0") >> 9n) & 7n) : -1).toBe(pdts);
  });
});

describe("SVA", () => {
  function shared(machine: Machine): Domain {
    const process = new Process(machine.platform.memory, x86_64, "process");
    process.table.map(0x7f00, machine.platform.memory.allocate(4096, 4096, "process", "page") / 4096, 1, RW);
    return machine.platform.iommu.allocSva(machine.device, process);
  }

  test("a process's table under domain ID 1; tear-down drains page requests", () => {
    const machine = new Machine();
    const domain = shared(machine);
    machine.acts();
    attach(machine, domain);
    const event = machine.events.findLast((one) => one.type === "table:write");
    expect(event?.type === "table:write" ? event.after[1] : "").toBe("0x0000000000800001");
    expect(machine.acts()).toEqual([setUp]);
    expect(machine.write(0x7f00, PASID)).toBe("success");
    machine.acts();
    machine.platform.run(machine.platform.iommu.detachPasid(machine.device, PASID));
    expect(machine.acts()).toEqual([
      ...tornDown,
      "wait",
      "p_iotlb_inv 0x500000026 0x0",
      "p_dev_tlb_inv 0x501000008 0x7ffffffffffff800",
      "wait",
    ]);
  });

  test("replaced by a paging domain its faults end first: nothing is drained", () => {
    const machine = new Machine();
    attach(machine, shared(machine));
    const other = paging(machine);
    machine.acts();
    machine.platform.run(machine.platform.iommu.replacePasid(other, machine.device, PASID));
    expect(machine.acts()).toEqual([...tornDown, setUp]);
    machine.platform.run(machine.platform.iommu.replacePasid(shared(machine), machine.device, PASID));
    machine.acts();
    machine.platform.run(machine.platform.iommu.detachPasid(machine.device, PASID));
    expect(machine.acts()).toHaveLength(tornDown.length + 4);
  });

  test("ATS on demand does not let a process on a device whose PRI cannot go on", () => {
    const pri = { capacity: 512, responsePasidRequired: false };
    const machine = new Machine({
      topology: oneDevice({ ...nicConfig, pri }),
      cmdline: "iommu.passthrough=1",
      slots: { "ats:intel-vtd": vtdTrackPasids },
    });
    expect(errnoOf(() => shared(machine))).toBe("EINVAL");
  });

  test("a process cannot go on the RID", () => {
    const machine = new Machine();
    const domain = shared(machine);
    expect(errnoOf(() => machine.platform.run(domain.attach(machine.device, undefined)))).toBe("EOPNOTSUPP");
  });

  test.each([
    ["a unit whose walks are not coherent", { vtd: { ecap: 0x0000cd9820f00f4en } }, "ENODEV"],
    [
      "a device without Page Aligned Request",
      { topology: oneDevice({ ...nicConfig, ats: { queueDepth: 32, pageAligned: false } }) },
      "EINVAL",
    ],
    [
      "PRI that stays off",
      { topology: oneDevice({ ...nicConfig, pri: { capacity: 512, responsePasidRequired: false } }) },
      "EINVAL",
    ],
  ])("%s is refused", (_name, options, errno) => {
    const machine = new Machine(options);
    expect(errnoOf(() => shared(machine))).toBe(errno);
  });

  test("a device without PRI handles its faults itself", () => {
    const { pri: _pri, ...config } = nicConfig;
    const machine = new Machine({ topology: oneDevice(config) });
    attach(machine, shared(machine));
    machine.acts();
    machine.platform.run(machine.platform.iommu.detachPasid(machine.device, PASID));
    expect(machine.acts()).toEqual(tornDown);
  });
});

describe("a group of two functions", () => {
  test("the PASID goes to both", () => {
    const config = endpointConfig({ ...nicConfig, multiFunction: true });
    const topology = pciTopology({
      rootPorts: [
        {
          rid: 0x0008,
          endpoint: { rid: NIC, config },
          functions: [{ rid: NIC + 1, config }],
        },
      ],
    });
    const machine = new Machine({ topology });
    expect(machine.device.group).toBe(machine.deviceAt(NIC + 1).group);
    const domain = paging(machine);
    machine.acts();
    attach(machine, domain);
    expect(machine.acts().filter((line) => line === setUp)).toHaveLength(2);
  });
});
