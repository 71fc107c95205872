import { ConfigSpace } from "@iommu-lab/pci";
import { topologyOf } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";
import { cases, load, read } from "./support/recordings.ts";

function ridOf(address: string | undefined): number {
  const [bus = 0, device = 0, fn = 0] = (address ?? "")
    .split(/[:.]/u)
    .slice(1)
    .map((part) => Number.parseInt(part, 16));
  return (bus << 8) | (device << 3) | fn;
}

describe("machine of a dump", () => {
  it.each(cases)("%s: every role but the conventional bus is there, where it was", (name) => {
    const { roles } = load(name);
    const { ports, endpoints } = topologyOf(read(`${name}.lspci-xxxx.txt`), name);
    const rids = new Set([...ports, ...endpoints].map((one) => one.rid));
    const missing = [...roles].filter(([, address]) => !rids.has(ridOf(address))).map(([role]) => role);
    expect(missing).toStrictEqual(["pcibr", "conv_edu", "conv_e1000", "vvf0", "vvf1"]);
    const parentOf = (role: string): number | undefined =>
      [...ports, ...endpoints].find((one) => one.rid === ridOf(roles.get(role)))?.parent;
    expect(parentOf("vnet_ats")).toBe(ridOf(roles.get("rp1")));
    expect(parentOf("sw_ats")).toBe(ridOf(roles.get("swd0")));
    expect(parentOf("swd1")).toBe(ridOf(roles.get("swu")));
    expect(parentOf("rc_ats")).toBeUndefined();
  });

  it("is as before the kernel ran: ATS and ACS off, bus numbers kept", () => {
    const { ports, endpoints } = topologyOf(read("vtd-legacy-dt-7.2.lspci-xxxx.txt"), "x");
    const endpoint = new ConfigSpace(endpoints.find((one) => one.rid === 0x100)?.config ?? new Uint8Array(256));
    const port = new ConfigSpace(ports.find((one) => one.rid === 0x10)?.config ?? new Uint8Array(256));
    expect(endpoint.read16(endpoint.findExtendedCapability(0x0f) + 6)).toBe(0);
    expect(port.read16(port.findExtendedCapability(0x0d) + 6)).toBe(0);
    expect(port.read8(0x19)).toBe(1);
  });
});
