import { describe, expect, test } from "vitest";
import { pciDev } from "@iommu-lab/pci";
import { Lab, NIC, PLAIN } from "./lab.ts";

function warnings(lab: Lab): string[] {
  return lab.traced("warn").map(({ where }) => where);
}

/** Removes a function and scans the bus. */
function replug(lab: Lab, rid: number): void {
  lab.run(lab.bus.remove(lab.device(rid)));
  lab.run(lab.bus.scan());
}

describe("release", () => {
  test("BLOCKED: ATS off, DTE cleared", () => {
    const lab = new Lab().boot();
    lab.run(lab.bus.remove(lab.device(NIC)));
    expect(lab.endpoint(NIC).atsEnabled).toBe(false);
    expect(lab.entry(NIC)).toMatchObject({ valid: true, translationValid: false, iotlb: false });
    expect(warnings(lab)).toEqual([]);
  });

  test("plugged in again it is probed as at first", () => {
    const lab = new Lab().boot();
    replug(lab, NIC);
    expect(lab.endpoint(NIC).atsEnabled).toBe(true);
    expect(lab.entry(NIC).iotlb).toBe(true);
    expect(warnings(lab)).toEqual([]);
  });
});

describe("a device with a direct region", () => {
  const unityMaps = [{ first: PLAIN, last: PLAIN, page: 0x9b000, count: 16, read: true, write: true }];

  test("its region is mapped 1:1, and it cannot be claimed", () => {
    const lab = new Lab({ unityMaps }).boot();
    expect(lab.group(PLAIN).defaultDomain?.lookup?.(0x9b005)).toBe(0x9b005);
    expect(() => lab.run(lab.platform.iommu.claimGroup(lab.group(PLAIN), "user"))).toThrow("EINVAL");
  });

  test("released it goes to IDENTITY and stays bound: the kernel warns, ATS stays on", () => {
    const lab = new Lab({ unityMaps }).boot();
    const lines = lab.watch(() => {
      lab.run(lab.bus.remove(lab.device(PLAIN)));
    });
    expect(lines.filter((line) => line.startsWith("ats"))).toEqual(["ats-", "ats+"]);
    expect(warnings(lab)).toEqual(["amd_iommu_release_device"]);
    expect(lab.dte(PLAIN).slice(0, 2)).toEqual(["0x6000000000000003", "0x0000000100000001"]);
    expect(lab.endpoint(PLAIN).atsEnabled).toBe(true);
  });

  test("plugged in again, the stale binding is undone first: ATS is switched off that was never on", () => {
    const lab = new Lab({ unityMaps }).boot();
    const lines = lab.watch(() => {
      replug(lab, PLAIN);
    });
    expect(warnings(lab)).toEqual(["amd_iommu_release_device", "pci_disable_ats"]);
    expect(lines.filter((line) => line.startsWith("ats"))).toEqual(["ats-", "ats+", "ats+"]);
    expect(lab.entry(PLAIN)).toMatchObject({ mode: 3, iotlb: true });
    expect(lab.endpoint(PLAIN).atsEnabled).toBe(true);
  });

  test("with IDENTITY as the new default nothing is attached: the DTE permits, the driver believes, the device is off", () => {
    const lab = new Lab({ unityMaps, kernel: { cmdline: "iommu.passthrough=1" } }).boot();
    replug(lab, PLAIN);
    expect(lab.endpoint(PLAIN).atsEnabled).toBe(false);
    expect(lab.entry(PLAIN).iotlb).toBe(true);
    expect(lab.platform.iommu.driver?.believesAtsEnabled(lab.device(PLAIN))).toBe(true);
    expect(lab.traced("decision").at(-1)?.rule).toBe("amd-same-domain");
  });
});

describe("reset", () => {
  test("ATS at prepared, done and restored: off, on, on", () => {
    const lab = new Lab().boot();
    const states: string[] = [];
    lab.run(
      lab.bus.resetFunction(lab.device(NIC), (point) => {
        const { pasidEnabled } = pciDev(lab.device(NIC));
        states.push(
          `${point} E=${Number(lab.endpoint(NIC).atsEnabled)} I=${Number(lab.entry(NIC).iotlb)} P=${pasidEnabled}`,
        );
      }),
    );
    expect(states).toEqual(["prepared E=0 I=0 P=false", "done E=1 I=1 P=true", "restored E=1 I=1 P=true"]);
  });

  test("while it is prepared nothing of the function passes", () => {
    const lab = new Lab().boot();
    const target = lab.buffer();
    const endpoint = lab.endpoint(NIC);
    let seen = "";
    lab.run(
      lab.bus.resetFunction(lab.device(NIC), (point) => {
        if (point === "prepared") {
          Object.assign(endpoint.obeys, { enable: false, busMaster: false });
          seen = [endpoint.untranslatedWrite(target, 0, 1), endpoint.translatedWrite(target, 0, 1)]
            .map(({ status }) => status)
            .join(" ");
        }
      }),
    );
    expect(seen).toBe("CA CA");
    expect(lab.platform.memory.load32(target * 4096)).toBe(0);
  });
});

test("bind and unbind change nothing", () => {
  const lab = new Lab().boot();
  const lines = lab.watch(() => {
    lab.run(lab.bus.bind(lab.device(NIC), { name: "nic", managesDma: false }));
    lab.run(lab.bus.unbind(lab.device(NIC)));
  });
  expect(lines).toEqual([]);
});
