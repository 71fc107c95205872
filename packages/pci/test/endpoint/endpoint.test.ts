import { Digest, type TraceEvent } from "@iommu-lab/core";
import {
  AT_MASK,
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_NO_WRITE,
  REQUEST_SOURCE_CXL,
  pciTopology,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, nic, oneNic } from "../support.ts";

const PAGE = 0x55;

function mapped(): Machine {
  const machine = new Machine();
  machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: true });
  machine.iommu.map(1, PAGE, { host: machine.buffer, read: true, write: true });
  return machine;
}

function types(machine: Machine): number[] {
  return machine.iommu.seen.map(({ flags }) => flags & AT_MASK);
}

/** The whole function level reset, as the device's time passes. */
function pass(machine: Machine, ns: number): void {
  machine.run(
    (function* wait() {
      yield { kind: "sleep", ns } as const;
    })(),
  );
}

function startFlr(machine: Machine): void {
  const pcie = machine.nic.config.findCapability(0x10);
  machine.nic.writeConfig(pcie + 8, 2, machine.nic.readConfig(pcie + 8, 2) | 0x8000);
}

describe("what an honest function sends", () => {
  test("without Bus Master: nothing", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.setBusMaster(false);
    for (const result of [
      machine.nic.untranslatedRead(PAGE, 0),
      machine.nic.translatedWrite(machine.buffer, 0, 1),
      machine.nic.dmaWrite(PAGE, 0, 1),
    ]) {
      expect(result).toMatchObject({ sent: false, reason: "Bus Master Enable is 0" });
    }
    expect(machine.nic.translationRequest(PAGE)).toMatchObject({ sent: false, reason: "Bus Master Enable is 0" });
    expect(machine.iommu.seen).toEqual([]);
  });

  test("without ATS Enable: AT=00 only", () => {
    const machine = mapped();
    expect(machine.nic.translationRequest(PAGE)).toMatchObject({ sent: false, reason: "ATS Enable is 0" });
    expect(machine.nic.translatedRead(machine.buffer, 0).sent).toBe(false);
    expect(machine.nic.dmaWrite(PAGE, 0, 5).status).toBe("success");
    expect(types(machine)).toEqual([AT_UNTRANSLATED]);
    expect(machine.word(machine.buffer, 0)).toBe(5);
  });

  test("with a PASID: nothing until PASID Enable, nor a PASID that is too wide", () => {
    const machine = mapped();
    expect(machine.nic.untranslatedRead(PAGE, 0, 1)).toMatchObject({ sent: false, reason: "PASID Enable is 0" });
    machine.setPasid(true);
    expect(machine.nic.untranslatedRead(PAGE, 0, 1).status).toBe("success");
    expect(machine.nic.untranslatedRead(PAGE, 0, 0x10000).sent).toBe(false);
  });

  test("a hostile one sends all of it", () => {
    const machine = mapped();
    machine.setBusMaster(false);
    const { obeys } = machine.nic;
    obeys.enable = false;
    obeys.busMaster = false;
    obeys.pasidEnable = false;
    expect(machine.nic.translationRequest(PAGE, 1)).toMatchObject({
      sent: true,
      status: "success",
      host: machine.buffer,
    });
    expect(machine.nic.translatedWrite(machine.canary, 0, 3).status).toBe("success");
    expect(machine.word(machine.canary, 0)).toBe(3);
  });
});

describe("DMA with ATS", () => {
  test("asks once, then uses the translation", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.nic.dmaWrite(PAGE, 0, 5);
    machine.nic.dmaWrite(PAGE, 4, 6);
    expect(machine.nic.dmaRead(PAGE, 4).value).toBe(6);
    expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST, AT_TRANSLATED, AT_TRANSLATED, AT_TRANSLATED]);
    expect(machine.iommu.seen[1]).toMatchObject({ page: machine.buffer, pasid: NO_PASID });
  });

  test("a Translated request carries no PASID", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.setPasid(true);
    machine.nic.dmaWrite(PAGE, 0, 5, 1);
    expect(machine.iommu.seen.map(({ pasid }) => pasid)).toEqual([1, NO_PASID]);
  });

  test("a read asks with No Write; a write then asks again for the missing permission", () => {
    const machine = mapped();
    machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: false });
    machine.setAts(true);
    expect(machine.nic.dmaRead(PAGE, 0).status).toBe("success");
    expect(machine.iommu.seen[0]?.flags).toBe(AT_TRANSLATION_REQUEST | REQUEST_NO_WRITE);
    machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: true });
    expect(machine.nic.dmaWrite(PAGE, 0, 1).status).toBe("success");
    expect(types(machine).slice(2)).toEqual([AT_TRANSLATION_REQUEST, AT_TRANSLATED]);
    expect(machine.nic.atc.size).toBe(1);
  });

  test("R=W=0 is not cached and the access goes Untranslated", () => {
    const machine = mapped();
    machine.setAts(true);
    expect(machine.nic.dmaWrite(PAGE + 1, 0, 1)).toMatchObject({ sent: true, status: "UR", fault: "not mapped" });
    expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST, AT_UNTRANSLATED]);
    expect(machine.nic.atc.size).toBe(0);
  });

  test("UR ends ATS until Enable goes from 0 to 1", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.iommu.ats = false;
    expect(machine.nic.dmaWrite(PAGE, 0, 1).status).toBe("success");
    machine.nic.dmaWrite(PAGE, 0, 2);
    expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, AT_UNTRANSLATED]);
    machine.iommu.ats = true;
    machine.setAts(true);
    expect(machine.nic.translationRequest(PAGE)).toMatchObject({ sent: false, reason: "ATS stopped by a UR" });
    machine.setAts(false);
    machine.setAts(true);
    expect(machine.nic.translationRequest(PAGE)).toMatchObject({ sent: true, status: "success" });
  });

  test("CA fails the access and ATS stays usable", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.iommu.translationStatus = "CA";
    expect(machine.nic.dmaWrite(PAGE, 0, 1)).toMatchObject({ sent: true, status: "CA", fault: "told to" });
    expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST]);
    machine.iommu.translationStatus = undefined;
    expect(machine.nic.dmaWrite(PAGE, 0, 1).status).toBe("success");
    expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST, AT_TRANSLATION_REQUEST, AT_TRANSLATED]);
  });

  test("U: the range is accessed Untranslated, unless the function ignores it", () => {
    const machine = mapped();
    machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: true, untranslatedOnly: true });
    machine.setAts(true);
    machine.nic.dmaWrite(PAGE, 0, 1);
    expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST, AT_UNTRANSLATED]);
    machine.nic.obeys.untranslatedOnly = false;
    machine.nic.dmaWrite(PAGE, 0, 1);
    expect(types(machine).at(-1)).toBe(AT_TRANSLATED);
  });

  test("requests are aligned to the STU, and a smaller answer counts as UR", () => {
    const machine = mapped();
    machine.setAts(true, 4);
    machine.iommu.map(NO_PASID, 0x50, { host: 0x40000, read: true, write: true, sizeLog2: 16 });
    expect(machine.nic.translationRequest(PAGE)).toMatchObject({
      status: "success",
      page: PAGE,
      host: 0x40005,
      sizeLog2: 16,
    });
    expect(machine.iommu.seen[0]?.page).toBe(0x50);
    expect(machine.nic.atc.entries()).toMatchObject([{ page: 0x50, host: 0x40000, sizeLog2: 16 }]);
    machine.iommu.map(NO_PASID, 0x60, { host: 0x40000, read: true, write: true, sizeLog2: 12 });
    expect(machine.nic.translationRequest(0x60)).toMatchObject({ status: "UR", cached: false });
    expect(machine.nic.translationRequest(0x60).sent).toBe(false);
  });

  test("Source-CXL, Execute and Privileged go out with the request", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.nic.translationRequest(PAGE, NO_PASID, { sourceCxl: true });
    const control = machine.nic.config.findExtendedCapability(0x1b) + 6;
    machine.nic.writeConfig(control, 2, 1);
    const both = { execute: true, privileged: true };
    expect(machine.nic.translationRequest(PAGE, 1, both).reason).toBe("Execute Permission Enable is 0");
    machine.nic.writeConfig(control, 2, 3);
    expect(machine.nic.translationRequest(PAGE, 1, both).reason).toBe("Privileged Mode Enable is 0");
    machine.nic.writeConfig(control, 2, 7);
    machine.nic.translationRequest(PAGE, 1, both);
    // Without a PASID prefix there is no place for them.
    machine.nic.translationRequest(PAGE, NO_PASID, both);
    expect(machine.iommu.seen.map(({ flags }) => flags)).toEqual([1 | REQUEST_SOURCE_CXL, 1 | 0x10 | 0x20, 1]);
  });

  test("Global means something with a PASID alone", () => {
    const machine = mapped();
    for (const pasid of [NO_PASID, 1]) {
      machine.iommu.map(pasid, PAGE, { host: machine.buffer, read: true, write: true, global: true });
    }
    machine.setAts(true);
    machine.setPasid(true);
    machine.nic.translationRequest(PAGE);
    machine.nic.translationRequest(PAGE, 1);
    expect(machine.nic.atc.entries().map(({ pasid, global }) => [pasid, global])).toEqual([
      [NO_PASID, false],
      [1, true],
    ]);
  });

  test("history keeps every translation through invalidation and reset", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.nic.translationRequest(PAGE);
    machine.nic.translationRequest(PAGE + 1);
    startFlr(machine);
    expect(machine.nic.atc.size).toBe(0);
    expect(machine.nic.history).toMatchObject([
      { page: PAGE, pasid: NO_PASID, host: machine.buffer, read: true, write: true },
    ]);
  });

  test("a hit builds no new result", () => {
    const machine = mapped();
    machine.setAts(true);
    expect(machine.nic.dmaWrite(PAGE, 0, 1)).toBe(machine.nic.dmaRead(PAGE, 0));
    expect(machine.nic.atc.lookup(PAGE, NO_PASID)).toBe(machine.nic.atc.lookup(PAGE, NO_PASID));
    expect(machine.nic.history).toHaveLength(1);
  });
});

describe("ATS Enable and the ATC", () => {
  test("1 to 0 stops use; 0 to 1 empties", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.nic.dmaWrite(PAGE, 0, 1);
    machine.setAts(false);
    machine.iommu.seen.length = 0;
    machine.nic.dmaWrite(PAGE, 0, 2);
    expect(types(machine)).toEqual([AT_UNTRANSLATED]);
    const recorder = machine.record();
    machine.setAts(true);
    expect(machine.nic.atc.lookup(PAGE, NO_PASID)).toBeUndefined();
    expect(recorder.events).toMatchObject([{ type: "atc", what: "clear", entries: 1, reason: "ATS Enable 0 to 1" }]);
  });

  test("writing 1 over 1 empties nothing", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.nic.dmaWrite(PAGE, 0, 1);
    machine.setAts(true);
    expect(machine.nic.atc.size).toBe(1);
  });
});

function filled(): Machine {
  const machine = mapped();
  machine.setAts(true);
  machine.nic.dmaWrite(PAGE, 0, 1);
  return machine;
}

function invalidate(machine: Machine, itag: number = 3) {
  return machine.fabric.sendInvalidate(machine.iommu, NIC, itag, NO_PASID, PAGE, 12, false, 0);
}

describe("Invalidate Requests", () => {
  test("wait for the function's own step, then are completed with their ITag", () => {
    const machine = filled();
    expect(invalidate(machine)).toBe("delivered");
    expect(machine.nic.atc.size).toBe(1);
    expect(machine.nic.ready()).toBe(true);
    machine.platform.scheduler.settle();
    expect(machine.nic.atc.size).toBe(0);
    expect(machine.iommu.completions).toEqual([{ rid: NIC, itags: 8, count: 1 }]);
    expect(machine.nic.ready()).toBe(false);
  });

  test("ITag 31 is bit 31", () => {
    const machine = filled();
    invalidate(machine, 31);
    machine.platform.scheduler.settle();
    expect(machine.iommu.completions[0]?.itags).toBe(0x80000000);
  });

  test("with the Global bit take Global entries only where the function supports it", () => {
    for (const [globalInvalidate, left] of [
      [true, 0],
      [false, 1],
    ] as const) {
      const config = { ...nic, ats: { queueDepth: 32, globalInvalidate } };
      const machine = new Machine(
        pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config } }] }),
      );
      machine.iommu.map(1, PAGE, { host: machine.buffer, read: true, write: true, global: true });
      machine.setAts(true);
      machine.setPasid(true);
      machine.nic.translationRequest(PAGE, 1);
      machine.fabric.sendInvalidate(machine.iommu, NIC, 0, 1, 0, 64, true, 0);
      machine.platform.scheduler.settle();
      expect(machine.nic.atc.size).toBe(left);
    }
  });

  test("are answered with ATS and Bus Master off", () => {
    const machine = filled();
    machine.setAts(false);
    machine.setBusMaster(false);
    expect(invalidate(machine)).toBe("delivered");
    machine.platform.scheduler.settle();
    expect(machine.iommu.completions).toHaveLength(1);
  });

  test("go to UR without an ATS capability, and without a function", () => {
    const { ats: _ats, ...without } = nic;
    const machine = new Machine(
      pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: without } }] }),
    );
    expect(invalidate(machine)).toBe("UR");
    expect(machine.fabric.sendInvalidate(machine.iommu, 0x900, 0, NO_PASID, 0, 64, false, 0)).toBe("UR");
  });

  test("are lost in a reset, also those that were waiting", () => {
    const machine = filled();
    invalidate(machine, 1);
    const recorder = machine.record();
    startFlr(machine);
    expect(invalidate(machine, 2)).toBe("lost");
    machine.platform.scheduler.settle();
    expect(machine.iommu.completions).toEqual([]);
    const drops = recorder.events.filter((event) => event.type === "atc" && event.what === "drop");
    expect(drops).toHaveLength(2);
  });

  test("a hostile function keeps the entry and answers; a silent one does not answer", () => {
    const machine = filled();
    machine.nic.obeys.invalidations = false;
    invalidate(machine);
    machine.platform.scheduler.settle();
    expect(machine.nic.atc.size).toBe(1);
    expect(machine.iommu.completions).toHaveLength(1);
    machine.nic.obeys.completions = false;
    invalidate(machine);
    machine.platform.scheduler.settle();
    expect(machine.iommu.completions).toHaveLength(1);
  });

  test("leave one request and one completion in the trace, each caused by what came before", () => {
    const machine = filled();
    const recorder = machine.record();
    invalidate(machine);
    machine.platform.scheduler.settle();
    const events = recorder.events.filter(
      (event): event is Extract<TraceEvent, { type: "tlp" }> => event.type === "tlp",
    );
    expect(events.map(({ kind }) => kind)).toEqual(["invalidate-request", "invalidate-completion"]);
    expect(events[1]?.cause).toBe(events[0]?.id);
    expect(events[1]?.actor).toBe("0000:01:00.0");
  });
});

describe("Function Level Reset", () => {
  test("empties the ATC, clears Enable bits and Bus Master, and takes 100 ms", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.setPasid(true);
    machine.nic.dmaWrite(PAGE, 0, 1);
    startFlr(machine);
    expect(machine.nic.resetting).toBe(true);
    expect(machine.nic.readConfig(0, 4)).toBe(0xffffffff);
    expect(machine.nic.readConfig(4, 2)).toBe(0xffff);
    machine.nic.writeConfig(4, 2, 6);
    pass(machine, 99_999_999);
    expect(machine.nic.resetting).toBe(true);
    pass(machine, 1);
    expect(machine.nic.resetting).toBe(false);
    expect(machine.nic.readConfig(4, 2)).toBe(0);
    expect(machine.nic.readConfig(machine.nic.config.findExtendedCapability(0x0f) + 6, 2)).toBe(0);
    expect(machine.nic.readConfig(machine.nic.config.findExtendedCapability(0x1b) + 6, 2)).toBe(0);
    expect(machine.nic.atc.size).toBe(0);
  });

  test("silences even a hostile function", () => {
    const machine = mapped();
    machine.nic.obeys.enable = false;
    machine.nic.obeys.busMaster = false;
    startFlr(machine);
    expect(machine.nic.untranslatedWrite(PAGE, 0, 1)).toMatchObject({ sent: false, reason: "in reset" });
    expect(machine.iommu.seen).toEqual([]);
  });

  test("is traced from begin to end once", () => {
    const machine = mapped();
    const recorder = machine.record();
    startFlr(machine);
    pass(machine, 200_000_000);
    machine.nic.readConfig(0, 4);
    expect(recorder.events.filter(({ type }) => type === "device:reset")).toMatchObject([
      { phase: "begin", kind: "flr", time: 0 },
      { phase: "end", kind: "flr", time: 100_000_000 },
    ]);
  });

  test("a function without the capability ignores the bit", () => {
    const machine = new Machine(
      pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: { ...nic, flr: false } } }] }),
    );
    startFlr(machine);
    expect(machine.nic.resetting).toBe(false);
  });

  test("forgets open requests: Transactions Pending goes", () => {
    const machine = mapped();
    const deviceStatus = machine.nic.config.findCapability(0x10) + 0xa;
    machine.nic.holdTransactions(1000);
    expect(machine.nic.readConfig(deviceStatus, 2) & 0x20).toBe(0x20);
    pass(machine, 1000);
    expect(machine.nic.readConfig(deviceStatus, 2) & 0x20).toBe(0);
    machine.nic.holdTransactions(1000);
    startFlr(machine);
    expect(machine.nic.config.read16(deviceStatus) & 0x20).toBe(0);
  });

  test("a conventional reset is over at once", () => {
    const machine = mapped();
    machine.setAts(true);
    machine.nic.dmaWrite(PAGE, 0, 1);
    machine.nic.reset("conventional");
    expect(machine.nic.resetting).toBe(false);
    expect(machine.nic.atsEnabled).toBe(false);
    expect(machine.nic.atc.size).toBe(0);
  });
});

function enabled(): Machine {
  const machine = mapped();
  const pri = machine.nic.config.findExtendedCapability(0x13);
  machine.nic.writeConfig(pri + 12, 4, 1);
  machine.nic.writeConfig(pri + 4, 2, 1);
  return machine;
}

function status(machine: Machine): number {
  return machine.nic.readConfig(machine.nic.config.findExtendedCapability(0x13) + 6, 2);
}

describe("Page Requests", () => {
  const last = { read: true, write: false, last: true, groupIndex: 7 };

  test("need PRI Enable, which clears Stopped", () => {
    const machine = mapped();
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last)).toMatchObject({ sent: false, reason: "PRI Enable is 0" });
    expect(status(machine) & 0x100).toBe(0x100);
    const on = enabled();
    expect(status(on) & 0x100).toBe(0);
    expect(on.nic.pageRequest(PAGE, NO_PASID, last)).toMatchObject({ sent: true, delivery: "delivered" });
    expect(on.iommu.pageRequests).toEqual([{ rid: NIC, pasid: NO_PASID, page: PAGE, ...last }]);
  });

  test("stop at the allocation until a response frees the group", () => {
    const machine = enabled();
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last)).toMatchObject({ reason: "no page request credit is left" });
    expect(machine.fabric.sendPageResponse(machine.iommu, NIC, NO_PASID, 7, 0)).toBe("delivered");
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last).sent).toBe(true);
    expect(machine.nic.pageResponses).toEqual([{ groupIndex: 7, code: 0 }]);
  });

  test("Response Failure stops the interface until it is reset; an unknown index is noted", () => {
    const machine = enabled();
    machine.fabric.sendPageResponse(machine.iommu, NIC, NO_PASID, 9, 0);
    expect(status(machine) & 2).toBe(2);
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    machine.fabric.sendPageResponse(machine.iommu, NIC, NO_PASID, 7, 15);
    expect(status(machine) & 0x101).toBe(0x101);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last).sent).toBe(false);
    const pri = machine.nic.config.findExtendedCapability(0x13);
    machine.nic.writeConfig(pri + 4, 2, 0);
    machine.nic.writeConfig(pri + 4, 2, 2);
    expect(status(machine) & 3).toBe(0);
  });

  test("a function without PRI answers UR to a response", () => {
    const { pri: _pri, ...without } = nic;
    const machine = new Machine(
      pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: without } }] }),
    );
    expect(machine.fabric.sendPageResponse(machine.iommu, NIC, NO_PASID, 7, 0)).toBe("UR");
  });
});

describe("gone", () => {
  test("an unplugged function reads all ones, sends nothing and loses messages", () => {
    const machine = mapped();
    machine.nic.unplug();
    expect(machine.nic.present()).toBe(false);
    expect(machine.nic.readConfig(0, 2)).toBe(0xffff);
    expect(machine.nic.untranslatedRead(PAGE, 0)).toMatchObject({ sent: false, reason: "unplugged" });
    expect(machine.fabric.sendInvalidate(machine.iommu, NIC, 0, NO_PASID, 0, 64, false, 0)).toBe("lost");
  });
});

describe("a VF", () => {
  const withVf = pciTopology({
    rootPorts: [
      {
        bdf: "00:01.0",
        endpoint: { bdf: "01:00.0", config: { ...nic, sriov: { totalVfs: 1, vfDevice: 0x1041 } } },
        functions: [
          {
            bdf: "01:00.1",
            config: { vendor: 0x1af4, device: 0x1041, class: 0x020000, ats: { queueDepth: 32 } },
            virtualFunctionOf: "01:00.0",
          },
        ],
      },
    ],
  });

  test("has its own ATS Enable, and its PF's STU and PASID Enable", () => {
    const machine = new Machine(withVf);
    const vf = machine.fabric.endpoint(0x101);
    machine.setAts(true, 4);
    expect(vf.translationRequest(0x57).sent).toBe(false);
    machine.setAts(true, 0, vf);
    machine.iommu.map(5, 0x50, { host: 0x40000, read: true, write: true, sizeLog2: 16 });
    expect(vf.translationRequest(0x57, 5)).toMatchObject({ sent: false, reason: "PASID Enable is 0" });
    machine.setPasid(true);
    expect(vf.translationRequest(0x57, 5)).toMatchObject({ status: "success", host: 0x40007 });
    expect(machine.iommu.seen).toMatchObject([{ rid: 0x101, page: 0x50 }]);
  });
});

function digestOf(machine: Machine): string {
  const into = new Digest();
  machine.nic.digest(into);
  return into.value;
}

describe("digest", () => {
  test("is the same for the same state and differs for each kind of change", () => {
    const changes: ((machine: Machine) => void)[] = [
      (machine) => {
        machine.setAts(true);
      },
      (machine) => {
        machine.nic.obeys.busMaster = false;
      },
      (machine) => {
        machine.nic.spoofRid = 5;
      },
      (machine) => {
        machine.nic.unplug();
      },
      (machine) => {
        machine.fabric.sendInvalidate(machine.iommu, NIC, 0, NO_PASID, 0, 64, false, 0);
      },
      (machine) => {
        startFlr(machine);
      },
      (machine) => {
        machine.nic.holdTransactions(10);
      },
    ];
    const seen = new Set([digestOf(new Machine(oneNic))]);
    expect(seen.has(digestOf(new Machine(oneNic)))).toBe(true);
    for (const change of changes) {
      const machine = new Machine(oneNic);
      change(machine);
      seen.add(digestOf(machine));
    }
    expect(seen.size).toBe(changes.length + 1);
  });
});
