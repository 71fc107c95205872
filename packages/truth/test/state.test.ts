import { describe, expect, it } from "vitest";
import type { Phase } from "@iommu-lab/truth";
import { cases, load } from "./support/recordings.ts";

function phase(name: string, recording: string): Phase {
  const found = load(recording).phases.find((one) => one.name === name);
  if (found === undefined) {
    throw new Error(`no phase ${name}`);
  }
  return found;
}

describe("state reconstruction", () => {
  it.each(cases)("%s: a difference leaves what it does not name", (name) => {
    const boot = phase("boot", name).state;
    const later = phase("unbind:vnet_ats", name).state;
    expect(later?.devices.size).toBe(boot?.devices.size);
    expect(later?.devices.get("0000:01:00.0")?.driver).toBeUndefined();
    expect(boot?.devices.get("0000:01:00.0")?.driver).toBe("virtio-pci");
    // Of the root port: an endpoint's driver changes the interrupt fields of its DTE.
    expect(later?.tables.get("0000:00:02.0")).toStrictEqual(boot?.tables.get("0000:00:02.0"));
  });

  it.each(cases)("%s: null removes, and a later phase brings it back", (name) => {
    const removed = phase("remove:vnet_ats", name).state;
    const rescanned = phase("rescan:vnet_ats", name).state;
    expect(removed?.devices.has("0000:01:00.0")).toBe(false);
    expect(removed?.tables.has("0000:01:00.0")).toBe(false);
    expect(rescanned?.devices.get("0000:01:00.0")?.ats?.control).toBe(name === "smmu-7.2" ? 0 : 0x8000);
  });

  it("reads words in order, lowest first", () => {
    const boot = phase("boot", "vtd-sm-fsts-7.2").state;
    const words = boot?.tables.get("0000:01:00.0");
    expect(words?.get("pasid0")?.[0]).toBe(0x49n);
    expect(words?.get("pasid_dir0")).toHaveLength(1);
    expect(boot?.registers.get("ecap")).toStrictEqual([0x0000_8800_00f0_0f4en]);
    expect(phase("boot", "poke-smmu-ats-ssid-7.2").state?.registers.get("idr")).toHaveLength(6);
  });

  it("leaves unsampled phases without a state", () => {
    expect(phase("type-unbind:vnet_ats", "vtd-sm-fsts-7.2").state).toBeUndefined();
  });
});
