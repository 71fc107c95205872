import type { TraceEvent } from "@iommu-lab/core";
import { ACS_SV, ACS_TB, NO_PASID, REQUEST_T, REQUEST_XT, TOPOLOGY, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, ROOT_PORT, nic } from "../support.ts";

const NO_IOMMU = { iommu: false };
const behindSwitch = pciTopology({
  rootPorts: [
    {
      bdf: "00:01.0",
      switch: {
        bdf: "01:00.0",
        downstream: [
          { bdf: "02:00.0", endpoint: { bdf: "03:00.0", config: nic } },
          { bdf: "02:01.0", endpoint: { bdf: "04:00.0", config: nic } },
        ],
      },
    },
  ],
  integrated: [{ bdf: "00:02.0", config: { ...nic, pcieType: 9 } }],
});

function ofType<K extends TraceEvent["type"]>(events: readonly TraceEvent[], type: K) {
  return events.filter((event): event is Extract<TraceEvent, { type: K }> => event.type === type);
}

describe("requests without an IOMMU", () => {
  test("pass untranslated and change bytes", () => {
    const machine = new Machine(undefined, NO_IOMMU);
    expect(machine.nic.untranslatedWrite(machine.buffer, 0x10, 0xdeadbeef)).toMatchObject({
      sent: true,
      status: "success",
    });
    expect(machine.word(machine.buffer, 0x10)).toBe(0xdeadbeef);
    expect(machine.nic.untranslatedRead(machine.buffer, 0x10).value).toBe(0xdeadbeef);
  });

  test("a Translation Request finds no translation agent: UR", () => {
    const machine = new Machine(undefined, NO_IOMMU);
    machine.setAts(true);
    expect(machine.nic.translationRequest(machine.buffer)).toMatchObject({ sent: true, status: "UR", cached: false });
  });

  test("an address where nothing is aborts", () => {
    const machine = new Machine(undefined, NO_IOMMU);
    expect(machine.nic.untranslatedWrite(1, 0, 1).status).toBe("master-abort");
    expect(machine.nic.untranslatedRead(2 ** 51, 0)).toMatchObject({ status: "master-abort", value: undefined });
  });
});

describe("requests through an IOMMU", () => {
  test("go to the host page it answers", () => {
    const machine = new Machine();
    machine.iommu.map(NO_PASID, 0x55, { host: machine.buffer, read: true, write: true });
    machine.nic.untranslatedWrite(0x55, 4, 7);
    expect(machine.word(machine.buffer, 4)).toBe(7);
    expect(machine.iommu.seen).toEqual([{ rid: NIC, pasid: NO_PASID, page: 0x55, offset: 4, flags: 4 }]);
  });

  test("a refused write changes nothing and carries the fault", () => {
    const machine = new Machine();
    const result = machine.nic.untranslatedWrite(machine.buffer, 0, 7);
    expect(result).toMatchObject({ sent: true, status: "UR", fault: "not mapped", recorded: true });
    expect(machine.word(machine.buffer, 0)).toBe(0);
  });

  test("a forged Translated write changes bytes where the IOMMU permits ATS, and nothing where it does not", () => {
    const machine = new Machine();
    machine.nic.obeys.enable = false;
    expect(machine.nic.translatedWrite(machine.canary, 0, 1).status).toBe("success");
    expect(machine.word(machine.canary, 0)).toBe(1);
    machine.iommu.ats = false;
    expect(machine.nic.translatedWrite(machine.canary, 0, 2)).toMatchObject({ status: "UR", recorded: true });
    expect(machine.word(machine.canary, 0)).toBe(1);
  });

  test("T and XT travel with the request", () => {
    const machine = new Machine();
    machine.nic.t = true;
    machine.nic.xt = true;
    const recorder = machine.record();
    machine.nic.untranslatedRead(1, 0);
    expect(machine.iommu.seen[0]?.flags).toBe(REQUEST_T | REQUEST_XT);
    expect(ofType(recorder.events, "tlp")[0]?.kind).toBe("untranslated-read+t+xt");
  });

  test("the first IOMMU that serves a requester ID judges it", () => {
    const machine = new Machine(undefined, NO_IOMMU);
    machine.fabric.attachIommu(machine.iommu, (rid) => rid === NIC);
    expect(machine.fabric.iommuOf(NIC)).toBe(machine.iommu);
    expect(machine.fabric.iommuOf(0x200)).toBeUndefined();
  });
});

describe("doorbells", () => {
  test("a write reaches the doorbell through the IOMMU, and only with its permission", () => {
    const machine = new Machine();
    const rung: unknown[] = [];
    machine.fabric.addDoorbell(0x8080, (rid, offset, data) => rung.push([rid, offset, data]));
    expect(machine.nic.writeMsi(0x77, 0x40, 32)).toMatchObject({ status: "UR", recorded: true });
    machine.iommu.map(NO_PASID, 0x77, { host: 0x8080, read: false, write: true });
    const recorder = machine.record();
    expect(machine.nic.writeMsi(0x77, 0x40, 32).status).toBe("success");
    expect(rung).toEqual([[NIC, 0x40, 32]]);
    expect(ofType(recorder.events, "msi")).toMatchObject([{ device: "0000:01:00.0", page: 0x77, result: "success" }]);
  });

  test("without Bus Master no interrupt leaves", () => {
    const machine = new Machine();
    machine.setBusMaster(false);
    expect(machine.nic.writeMsi(0x77, 0x40, 32)).toMatchObject({ sent: false, reason: "Bus Master Enable is 0" });
  });
});

describe("ACS", () => {
  test.each([ROOT_PORT, 0x200])("Translation Blocking at port 0x%x stops all but AT=00", (port) => {
    const machine = new Machine(port === ROOT_PORT ? undefined : behindSwitch);
    const endpoint = machine.fabric.endpoint(port === ROOT_PORT ? NIC : 0x300);
    machine.setAts(true, 0, endpoint);
    machine.setAcs(port, ACS_TB);
    expect(endpoint.translationRequest(5)).toMatchObject({
      sent: true,
      status: "acs",
      fault: "ACS Translation Blocking",
    });
    expect(endpoint.translatedWrite(machine.canary, 0, 1).status).toBe("acs");
    expect(machine.word(machine.canary, 0)).toBe(0);
    expect(machine.iommu.seen).toHaveLength(0);
    expect(endpoint.untranslatedRead(5, 0).status).toBe("UR");
    expect(machine.iommu.seen).toHaveLength(1);
  });

  test("Translation Blocking at one downstream port leaves its neighbour alone", () => {
    const machine = new Machine(behindSwitch);
    const other = machine.fabric.endpoint(0x400);
    machine.setAts(true, 0, other);
    machine.setAcs(0x200, ACS_TB);
    expect(other.translationRequest(5).status).toBe("success");
  });

  test("the ports further up are passed as well", () => {
    const machine = new Machine(behindSwitch);
    const endpoint = machine.fabric.endpoint(0x300);
    machine.setAts(true, 0, endpoint);
    machine.setAcs(ROOT_PORT, ACS_TB);
    expect(endpoint.translationRequest(5).status).toBe("acs");
    machine.setAcs(ROOT_PORT, ACS_SV);
    expect(endpoint.translationRequest(5).status).toBe("success");
    endpoint.spoofRid = 0x0500;
    expect(endpoint.untranslatedRead(5, 0)).toMatchObject({ status: "acs", fault: "ACS Source Validation" });
  });

  test("Source Validation stops a requester ID of another bus, and lets one of the same bus through", () => {
    const machine = new Machine();
    machine.setAcs(ROOT_PORT, ACS_SV);
    machine.iommu.map(NO_PASID, 5, { host: machine.buffer, read: true, write: true });
    machine.nic.spoofRid = 0x0300;
    expect(machine.nic.untranslatedWrite(5, 0, 1)).toMatchObject({ status: "acs", fault: "ACS Source Validation" });
    expect(machine.word(machine.buffer, 0)).toBe(0);
    machine.nic.spoofRid = 0x0101;
    expect(machine.nic.untranslatedWrite(5, 0, 1).status).toBe("success");
    expect(machine.iommu.seen.map(({ rid }) => rid)).toEqual([0x0101]);
  });

  test("without Source Validation a spoofed write arrives, but a spoofed read's data go elsewhere", () => {
    const machine = new Machine(behindSwitch);
    const endpoint = machine.fabric.endpoint(0x300);
    machine.setAts(true, 0, endpoint);
    endpoint.spoofRid = 0x0400;
    machine.iommu.map(NO_PASID, 5, { host: machine.buffer, read: true, write: true });
    expect(endpoint.untranslatedWrite(5, 0, 9).status).toBe("success");
    expect(machine.word(machine.buffer, 0)).toBe(9);
    expect(endpoint.untranslatedRead(5, 0)).toMatchObject({ status: "success", value: undefined });
    expect(endpoint.translationRequest(5)).toMatchObject({ read: false, write: false, cached: false });
    expect(endpoint.history).toEqual([]);
  });

  test("Source Validation follows the bus numbers that the port holds now", () => {
    const machine = new Machine();
    machine.setAcs(ROOT_PORT, ACS_SV);
    machine.iommu.map(NO_PASID, 5, { host: machine.buffer, read: true, write: true });
    machine.platform.host.get(TOPOLOGY).functionAt(ROOT_PORT)?.writeConfig(0x18, 4, 0x00070700);
    expect(machine.nic.untranslatedRead(5, 0).status).toBe("acs");
  });

  test("an endpoint integrated into the root complex passes no port", () => {
    const machine = new Machine(behindSwitch);
    const integrated = machine.fabric.endpoint(0x10);
    expect(integrated.port).toBeUndefined();
    expect(integrated.untranslatedRead(5, 0).status).toBe("UR");
    expect(machine.iommu.seen[0]?.rid).toBe(0x10);
  });
});

describe("trace", () => {
  test("a request, its fault's cause and its result hang together", () => {
    const machine = new Machine();
    const recorder = machine.record();
    const { event } = machine.nic.untranslatedWrite(0x55, 8, 1);
    const [tlp] = ofType(recorder.events, "tlp");
    const [result] = ofType(recorder.events, "tlp:result");
    expect(tlp).toMatchObject({
      id: event,
      kind: "untranslated-write",
      rid: NIC,
      page: 0x55,
      offset: 8,
      from: "0000:01:00.0",
    });
    expect(tlp).not.toHaveProperty("pasid");
    expect(result).toMatchObject({ tlp: event, cause: event, status: "UR" });
  });

  test("memory remembers the request that wrote it", () => {
    const machine = new Machine(undefined, NO_IOMMU);
    machine.record();
    const { event } = machine.nic.untranslatedWrite(machine.buffer, 8, 1);
    expect(event).toBeGreaterThan(0);
    expect(machine.platform.memory.writerOf(machine.buffer * 4096 + 8)).toBe(event);
  });

  test("nothing is built when nobody listens", () => {
    const machine = new Machine(undefined, NO_IOMMU);
    expect(machine.nic.untranslatedWrite(machine.buffer, 8, 1).event).toBe(0);
  });
});

describe("addresses", () => {
  test("an offset that is no multiple of 4 in the page is refused", () => {
    const machine = new Machine();
    expect(() => machine.nic.untranslatedRead(0, 2)).toThrow(/multiple of 4/);
    expect(() => machine.nic.untranslatedRead(0, 4096)).toThrow(/multiple of 4/);
  });

  test("an unknown requester ID has no endpoint", () => {
    expect(() => new Machine().fabric.endpoint(0x4242)).toThrow(/no endpoint at 42:08\.2/);
  });
});
