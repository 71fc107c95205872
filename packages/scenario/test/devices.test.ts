import { InputError, linux } from "@iommu-lab/core";
import { ConfigSpace, EXT_CAP_ID_ATS, endpointConfig, rootPortConfig } from "@iommu-lab/pci";
import { accelerator, atsLifecycle, deviceFromDump, nic, replay, subject } from "@iommu-lab/scenario";
import { describe, expect, it } from "vitest";

function hexDump(bdf: string, bytes: Uint8Array): string {
  const lines = [`${bdf} Class 0200: Device 1af4:1041`];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.slice(at, at + 16), (byte) => byte.toString(16).padStart(2, "0"));
    lines.push(`${at.toString(16).padStart(2, "0")}: ${row.join(" ")}`);
  }
  return `${lines.join("\n")}\n`;
}

const endpoint = endpointConfig({ vendor: 0x1af4, device: 0x1041, class: 0x020000, ats: { pageAligned: true } });
const dump = [
  hexDump("00:01.0", rootPortConfig({ secondary: 3, subordinate: 3 })),
  hexDump("03:00.0", endpoint),
  hexDump("03:00.1", endpoint),
].join("\n");

describe("built-in devices", () => {
  it.each([nic, accelerator])("$id has ATS with Page Aligned Request", ({ config }) => {
    const space = new ConfigSpace(config());
    const ats = space.findExtendedCapability(EXT_CAP_ID_ATS);
    expect(space.read16(ats + 4) & 0x20).toBe(0x20);
    expect(space.read16(ats + 6)).toBe(0);
  });
});

describe("a device from a dump", () => {
  it("keeps its place and its bytes, fresh each time", () => {
    const device = deviceFromDump(dump, "dir/machine.txt", "03:00.1");
    expect(device).toMatchObject({ id: "machine@03:00.1", rid: 0x0301 });
    expect(device.config()).toEqual(endpoint);
    expect(device.config()).not.toBe(device.config());
  });

  it.each([
    ["05:00.0", "no function 05:00.0 in the dump; it has 0000:03:00.0, 0000:03:00.1"],
    ["00:01.0", "0000:00:01.0 is a bridge; expected an endpoint"],
    ["3:0", '"3:0" is no bus:device.function, such as 11:00.0'],
    [undefined, "which function? write machine.txt@BDF with one of 0000:03:00.0, 0000:03:00.1"],
  ])("%s: %s", (bdf, message) => {
    const attempt = (): unknown => deviceFromDump(dump, "machine.txt", bdf);
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(message);
  });
});

describe("a subject", () => {
  const backend = { id: "none", title: "no IOMMU", cmdline: "a=1", plugins: () => [] };

  it("is named after backend, kernel, device and policies, and joins the command lines", () => {
    const policy = { id: "mine", title: "", slot: "ats:none", value: 7 };
    const made = subject({ backend, device: nic, policies: [policy], cmdline: "a=2" });
    expect(made.id).toBe("none/linux-7.2/nic+mine");
    const { kernel } = made.create("b=3");
    expect([...kernel.parameters]).toEqual([
      ["b", "3"],
      ["a", "2"],
    ]);
    expect(kernel.slots).toEqual({ "ats:none": 7 });
    expect(kernel.id).toBe(linux("7.2").id);
    expect(() => subject({ backend, device: nic, kernel: "3.0" })).toThrow(InputError);
  });

  it("without an IOMMU every step that needs one is refused, and the others go on", () => {
    const stage = replay(atsLifecycle, subject({ backend, device: nic }), atsLifecycle.steps.length - 1);
    expect(stage.known).toBe(false);
    expect(stage.endpoint.untranslatedWrite(stage.buffer, 0, 1).sent).toBe(false);
  });
});
