import { type PciDev, endpointConfig, pciEnableAcs, pciPlatform, pciProfile, rootPortConfig } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Tree } from "./tree.ts";

interface Case {
  readonly parameter: string;
  readonly version?: string;
  readonly firmware?: number;
  readonly requested?: boolean;
}

/** What ACS Control of the root port at 00:1c.0, or of the function at 01:00.0, becomes. */
function control(one: Case, which: "port" | "below" = "port"): number {
  const requested = one.requested ?? true;
  const platform = pciPlatform({
    profile: pciProfile(one.version ?? "7.2"),
    parameter: one.parameter,
    acsRequested: () => requested,
  });
  const tree = new Tree({ platform });
  const acs = { capability: 0x7f, control: one.firmware ?? 0 };
  const ids = { vendor: 0x8086, device: 0x7abc };
  const port = tree.make(0xe0, rootPortConfig({ secondary: 1, subordinate: 1, acs, ...ids }));
  const subsystem = { vendor: 0x1028, device: 0x0a1b };
  const below = tree.make(0x100, endpointConfig({ class: 0, vendor: 0x10de, device: 0x2204, subsystem, acs }), port);
  const dev: PciDev = which === "port" ? port : below;
  tree.machine.run(pciEnableAcs(dev));
  return dev.config.read16(dev.acsCap + 6);
}

describe("pci=disable_acs_redir=", () => {
  test("6.1 takes redirect from what the kernel enabled, later kernels start from firmware's word", () => {
    const parameter = "disable_acs_redir=00:1c.0";
    expect(control({ parameter, version: "6.1" })).toBe(0x11);
    expect(control({ parameter, version: "6.12" })).toBe(0x00);
    expect(control({ parameter, version: "7.2", firmware: 0x5d })).toBe(0x51);
  });

  test("needs no IOMMU, and names devices by path, ids and lists", () => {
    const off = { firmware: 0x1d, requested: false };
    expect(control({ parameter: "noaer,disable_acs_redir=0000:00:1c.0", ...off })).toBe(0x11);
    expect(control({ parameter: "disable_acs_redir=03:00.0;00:1c.0/00.0", ...off }, "below")).toBe(0x11);
    expect(control({ parameter: "disable_acs_redir=pci:10de:0", ...off }, "below")).toBe(0x11);
    expect(control({ parameter: "disable_acs_redir=pci:10de:2204:1028:a1b", ...off }, "below")).toBe(0x11);
    expect(control({ parameter: "disable_acs_redir=pci:10de:2204:1028:a1c", ...off }, "below")).toBe(0x1d);
    expect(control({ parameter: "disable_acs_redir=0001:00:1c.0", ...off })).toBe(0x1d);
  });

  test("an entry that cannot be read ends the list", () => {
    expect(control({ parameter: "disable_acs_redir=nonsense;00:1c.0", version: "6.1" })).toBe(0x1d);
    expect(control({ parameter: "disable_acs_redir=00:1d.0;00:1c.0", version: "6.1" })).toBe(0x11);
  });
});

describe("pci=config_acs=", () => {
  test("sets, clears and keeps bits of firmware's word", () => {
    expect(control({ parameter: "config_acs=x1x0xx1@00:1c.0", firmware: 0x4c })).toBe(0x65);
    expect(control({ parameter: "config_acs=0000000@00:1c.0", firmware: 0x5d })).toBe(0);
    expect(control({ parameter: "config_acs=1@pci:8086:7abc", requested: false })).toBe(1);
  });

  test("is unknown to 6.1, and ignored when malformed", () => {
    const parameter = "config_acs=0000000@00:1c.0";
    expect(control({ parameter, version: "6.1" })).toBe(0x1d);
    expect(control({ parameter, version: "6.12" })).toBe(0);
    for (const odd of ["config_acs=00:1c.0", "config_acs=2@00:1c.0", "config_acs=10000000@00:1c.0"]) {
      expect(control({ parameter: odd })).toBe(0x1d);
    }
  });
});
