import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { Lab, PLAIN } from "./lab.ts";

/** One traced call of the recorded kernel. */
interface Call {
  readonly ev: string;
  readonly args?: Readonly<Record<string, string>>;
}

interface Phase {
  readonly name: string;
  readonly events: readonly Call[];
  readonly tables?: { readonly entries: Readonly<Record<string, { readonly dte: readonly string[] }>> };
}

const file = path.resolve(import.meta.dirname, "../../../truth/recordings/acpi-amd-eph-7.2.json");
const { phases } = JSON.parse(readFileSync(file, "utf8")) as { phases: readonly Phase[] };
/** A virtio NIC with ATS and without PASID. */
const DEVICE = "0000:01:00.0";

function phase(name: string, index = 0): Phase {
  const found = phases.filter((one) => one.name === name)[index];
  if (found === undefined) {
    throw new Error(`no phase ${name}`);
  }
  return found;
}

/** DomainIDs by order of appearance, addresses as `A`, device IDs as `D`. */
class Mask {
  readonly #domains: string[] = [];
  readonly #own: bigint;

  constructor(rid: number) {
    this.#own = BigInt(rid);
  }

  dte(low: bigint, high: bigint): string {
    const root = (low >> 12n) & 0xffffffffffn;
    const flags = low & ~(0xffffffffffn << 12n);
    const domain = high & 0xffffn;
    const name = domain === 0n ? "none" : this.#domain(domain);
    return `dte ${flags.toString(16)}${root === 0n ? "" : " A"} ${(high >> 16n).toString(16)} ${name}`;
  }

  command(low: bigint, high: bigint): string {
    switch (low >> 60n) {
      case 1n:
        return "wait";
      case 2n:
        return (low & 0xffffn) === this.#own ? "devtab D" : "devtab other";
      case 3n:
        return `pages ${this.#domain((low >> 32n) & 0xffffn)} ${high.toString(16)}`;
      case 4n: {
        const rid = low & 0xffffn;
        return `iotlb ${rid === this.#own ? "D" : "other"} pend ${(low >> 24n) & 0xffn} ${high.toString(16)}`;
      }
      default:
        return `opcode ${low >> 60n}`;
    }
  }

  #domain(id: bigint): string {
    if (id === 1n) {
      return "identity";
    }
    const key = id.toString();
    const known = this.#domains.indexOf(key);
    return known >= 0 ? `domain ${known}` : `domain ${this.#domains.push(key) - 1}`;
  }
}

/** What the kernel did between the first attach of a phase and the last, in order. */
function recorded(what: Phase): string[] {
  const mask = new Mask(0x0100);
  const lines: string[] = [];
  let inside = false;
  for (const { ev, args = {} } of what.events) {
    if (ev === "__iommu_attach_device" || ev === "iommu_deinit_device") {
      inside = true;
    } else if (ev === "__iommu_attach_device__ret" || ev === "amd_iommu_release_device") {
      inside = false;
    } else if (!inside) {
      continue;
    } else if (ev === "pci_enable_ats" || ev === "pci_disable_ats") {
      lines.push(ev === "pci_enable_ats" ? "ats+" : "ats-");
    } else if (ev === "update_dte256") {
      lines.push(mask.dte(BigInt(args["new0"] ?? "0"), BigInt(args["new1"] ?? "0")));
    } else if (ev === "__iommu_queue_command_sync") {
      lines.push(mask.command(BigInt(args["cmd0"] ?? "0"), BigInt(args["cmd1"] ?? "0")));
    }
  }
  return lines;
}

/** The same of the model. A second identical DTE is no change there, so it is left out on both sides. */
function modelled(lab: Lab, body: () => void): string[] {
  const mask = new Mask(PLAIN);
  return lab.watch(body).map((line) => {
    const [first = "", second = "0", third = "0"] = line.split(" ");
    if (first === "dte") {
      return mask.dte(BigInt(second), BigInt(third));
    }
    return first.startsWith("0x") ? mask.command(BigInt(first), BigInt(second)) : line;
  });
}

/** Without the commands for the other function that is in IDENTITY, which the recorded machine did not have. */
function own(lines: readonly string[]): string[] {
  return lines.filter((line) => !line.includes("other"));
}

function withoutRepeats(lines: readonly string[]): string[] {
  let standing = "";
  return lines.filter((line) => {
    const repeated = line === standing;
    standing = line.startsWith("dte") ? line : standing;
    return !repeated;
  });
}

/** The recorded unit told NpCache, hence DMA instead of DMA-FQ. */
function machine(): Lab {
  return new Lab({ npCache: true }).boot();
}

describe("the recorded kernel's order of DTEs, ATS Enable and commands", () => {
  test("sysfs type DMA from DMA-FQ, then identity, then DMA-FQ", () => {
    const lab = machine();
    const store = (type: string): string[] =>
      modelled(lab, () => {
        lab.run(lab.platform.iommu.storeType(lab.group(PLAIN), type));
      });
    store("DMA-FQ");
    expect(own(store("DMA"))).toEqual(withoutRepeats(recorded(phase("type-unbound:vnet_ats:DMA"))));
    expect(own(store("identity"))).toEqual(withoutRepeats(recorded(phase("type-unbound:vnet_ats:identity"))));
    const left = store("DMA-FQ");
    expect(left).toContain("iotlb other pend 32 7ffffffffffff001");
    expect(own(left)).toEqual(withoutRepeats(recorded(phase("type-unbound:vnet_ats:DMA-FQ"))));
  });

  test("function level reset", () => {
    const lab = machine();
    const done = modelled(lab, () => {
      lab.run(lab.bus.resetFunction(lab.device(PLAIN)));
    });
    expect(done.pop()).toBe("ats+");
    expect(done).toEqual(withoutRepeats(recorded(phase("reset-unbound:vnet_ats:flr"))));
  });

  test("a claim, and its end", () => {
    const lab = machine();
    const events = recorded(phase("vfio-session:vnet_ats"));
    lab.run(lab.platform.iommu.storeType(lab.group(PLAIN), "identity"));
    const claim = modelled(lab, () => {
      lab.run(lab.platform.iommu.claimGroup(lab.group(PLAIN), "user"));
    });
    expect(own(claim)).toEqual(withoutRepeats(events).slice(0, own(claim).length));
    const release = modelled(lab, () => {
      lab.run(lab.platform.iommu.releaseGroup(lab.group(PLAIN)));
    });
    expect(release).toEqual(withoutRepeats(events).slice(-release.length));
  });

  test("sysfs remove: BLOCKED as release domain", () => {
    const lab = machine();
    const done = modelled(lab, () => {
      lab.run(lab.bus.remove(lab.device(PLAIN)));
    });
    expect(done).toEqual(withoutRepeats(recorded(phase("remove:vnet_ats"))));
  });

  test("rescan: the first attach of a new function", () => {
    const lab = machine();
    lab.run(lab.bus.remove(lab.device(PLAIN)));
    const done = modelled(lab, () => {
      lab.run(lab.bus.scan());
    });
    expect(done).toEqual(withoutRepeats(recorded(phase("rescan:vnet_ats"))));
  });
});

test("DTE after boot, DMA", () => {
  const [low = "0", high = "0", third = "0", fourth = "0"] = phase("boot").tables?.entries[DEVICE]?.dte ?? [];
  const mask = new Mask(0x0100);
  const lab = machine();
  const [ownLow = "0", ownHigh = "0", ownThird = "0", ownFourth = "0"] = lab.dte(PLAIN);
  expect(lab.group(PLAIN).domain?.type).toBe("DMA");
  expect(new Mask(PLAIN).dte(BigInt(ownLow), BigInt(ownHigh))).toBe(mask.dte(BigInt(low), BigInt(high)));
  expect([ownThird, ownFourth]).toEqual([third, fourth]);
});
