import { type Domain, type Op, PROT_READ, PROT_WRITE, Process, x86_64 } from "@iommu-lab/core";
import { VTD_UNIT, type VtdOptions } from "@iommu-lab/intel-vtd";
import { NO_PASID, PCI_BUS } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { disturbed, judgeSites } from "../../../../test/invalidation-proof.ts";
import {
  type DescriptorFilter,
  INVALIDATION_SITES,
  type InvalidationSite,
} from "../../src/driver/invalidation-site.ts";
import { PQT } from "../../src/layout/registers.ts";
import redundant from "../redundant.json" with { type: "json" };
import { leaveFirmwareTranslating } from "../support/firmware-left-on.ts";
import { staleIn } from "../support/observer.ts";
import { Machine, type MachineOptions } from "./machine.ts";

const RW = PROT_READ | PROT_WRITE;
const PAGES = [7, 8, 9] as const;
const PASIDS = [1, 2, 70] as const;

/** One machine under test: what it does, and what turned out stale after each operation. */
class Play {
  readonly machine: Machine;
  readonly stale: string[] = [];
  readonly #vtd: VtdOptions;
  readonly #pasids: readonly number[];

  constructor(options: MachineOptions, drop: InvalidationSite | undefined) {
    const filter: DescriptorFilter = (site, descriptors) => (site === drop ? [] : descriptors);
    this.#vtd = options.vtd ?? {};
    this.#pasids = this.hasPasids ? [NO_PASID, ...PASIDS] : [NO_PASID];
    this.machine = new Machine({ ...options, filter, quiet: true });
  }

  get hasPasids(): boolean {
    return this.#vtd.mode !== "legacy";
  }

  /** A device that does all kinds of DMA, so that every cache holds what it may hold. */
  dma(): void {
    const { endpoint } = this.machine;
    for (const pasid of this.#pasids) {
      for (const page of PAGES) {
        endpoint.untranslatedWrite(page, 0, 1, pasid);
        endpoint.dmaWrite(page, 0, 1, pasid);
      }
    }
  }

  /** Runs an operation under DMA, then looks for what is stale. */
  run(op: Op<unknown>): void {
    this.dma();
    this.machine.platform.run(disturbed(op, () => this.dma()));
    this.check();
  }

  check(): void {
    this.stale.push(...staleIn(this.machine, this.#vtd, this.#pasids, PAGES));
  }

  get core(): Machine["platform"]["iommu"] {
    return this.machine.platform.iommu;
  }

  /** The unit must take a page request of PASID 1 into its queue. */
  pageRequest(): void {
    const { endpoint, platform } = this.machine;
    const unit = platform.host.get(VTD_UNIT);
    const before = unit.read32(PQT);
    endpoint.pageRequest(9, 1, { read: true, write: false, last: true, groupIndex: 1 });
    if (unit.read32(PQT) === before) {
      this.stale.push("a page request is refused although PRE=1");
    }
  }

  /** A domain that maps pages 7 and 8 to memory of its own. */
  domain(pasid: boolean = false): Domain {
    const domain = this.core.allocPaging(this.machine.device, { pasid });
    for (const page of [7, 8]) {
      this.map(domain, page);
    }
    return domain;
  }

  map(domain: Domain, page: number): void {
    const host = this.machine.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
    if (domain.map !== undefined) {
      this.machine.platform.run(domain.map(page, host, 1, RW));
    }
  }

  attach(domain: Domain): void {
    const { group } = this.machine.device;
    if (group === undefined) {
      throw new Error("no group");
    }
    this.run(this.core.setGroupDomain(group, domain));
  }

  type(type: string): void {
    const { group } = this.machine.device;
    if (group === undefined) {
      throw new Error("no group");
    }
    this.run(this.core.storeType(group, type));
  }

  block(): void {
    const { group } = this.machine.device;
    if (group === undefined) {
      throw new Error("no group");
    }
    this.attach(this.core.blockingDomain(group));
  }
}

type Scenario = (play: Play) => void;

function* done(): Op<number> {
  yield* [];
  return 0;
}

const always: Readonly<Record<string, Scenario>> = {
  "attach, replace, block": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    play.attach(one);
    play.attach(other);
    play.block();
    play.attach(one);
  },
  "types of the default domain": (play) => {
    play.type("identity");
    play.type("DMA");
  },
  "a domain that nobody uses changes, and comes back": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    play.attach(one);
    play.attach(other);
    play.machine.platform.run(one.unmap?.(7, 1) ?? done());
    play.map(one, 9);
    play.attach(one);
  },
  "the domain ID of a freed domain is given to another one": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    play.attach(one);
    play.attach(other);
    one.free?.();
    const next = play.core.allocPaging(play.machine.device, { pasid: false });
    play.map(next, 9);
    play.attach(next);
  },
  "map and unmap": (play) => {
    const one = play.domain();
    play.attach(one);
    play.dma();
    play.map(one, 9);
    play.check();
    play.run(one.unmap?.(7, 2) ?? done());
    play.map(one, 7);
    play.check();
    play.run(one.flushAll?.() ?? done());
  },
  reset: (play) => {
    play.attach(play.domain());
    play.run(play.machine.platform.host.get(PCI_BUS).resetFunction(play.machine.device));
  },
  "removed and found again": (play) => {
    const bus = play.machine.platform.host.get(PCI_BUS);
    play.attach(play.domain());
    play.run(bus.remove(play.machine.device));
    play.run(bus.scan());
  },
};

const withPasids: Readonly<Record<string, Scenario>> = {
  "PASIDs come and go": (play) => {
    const { device } = play.machine;
    const [one, other] = [play.domain(true), play.domain(true)];
    for (const pasid of PASIDS) {
      play.run(play.core.attachPasid(one, device, pasid));
    }
    play.run(one.unmap?.(7, 1) ?? done());
    for (const pasid of PASIDS) {
      play.run(play.core.detachPasid(device, pasid));
    }
    play.run(play.core.attachPasid(other, device, 1));
    play.run(play.core.detachPasid(device, 1));
  },
};

const sharing: Readonly<Record<string, Scenario>> = {
  "a process": (play) => {
    const { device, platform } = play.machine;
    const process = new Process(platform.memory, x86_64, "p");
    for (const page of PAGES) {
      process.table.map(page, platform.memory.allocate(4096, 4096, "test", "buffer") / 4096, 1, RW);
    }
    play.run(play.core.enableFeature(device, "iopf"));
    play.run(play.core.attachPasid(play.core.allocSva(device, process), device, 1));
    play.pageRequest();
    play.run(play.core.detachPasid(device, 1));
    play.run(play.core.disableFeature(device, "iopf"));
  },
};

const replacing: Readonly<Record<string, Scenario>> = {
  "a PASID is replaced": (play) => {
    const { device } = play.machine;
    const [one, other] = [play.domain(true), play.domain(true)];
    play.run(play.core.attachPasid(one, device, 2));
    play.run(play.core.replacePasid(other, device, 2));
  },
};

const legacy: VtdOptions = { mode: "legacy" };
const secondStage: VtdOptions = { mode: "scalable", firstStage: false };

/** Kernels, modes and units, each with the scenarios that make sense there. */
const machines: readonly (readonly [
  name: string,
  options: MachineOptions,
  scenarios: Readonly<Record<string, Scenario>>,
])[] = [
  ["7.2 legacy", { vtd: legacy }, always],
  ["7.2 scalable", { vtd: { mode: "scalable" } }, { ...always, ...withPasids, ...replacing, ...sharing }],
  ["7.2 second stage", { vtd: secondStage }, { ...always, ...withPasids, ...replacing }],
  ["7.2 legacy, caching mode", { vtd: { ...legacy, cachingMode: true } }, always],
  ["7.2 second stage, caching mode", { vtd: { ...secondStage, cachingMode: true } }, { ...always, ...withPasids }],
  ["6.12 legacy", { version: "6.12", vtd: legacy }, always],
  ["6.12 scalable", { version: "6.12", vtd: { mode: "scalable" } }, { ...always, ...withPasids, ...sharing }],
  ["6.1 legacy", { version: "6.1", vtd: legacy }, always],
  ["6.1 scalable", { version: "6.1", vtd: { mode: "scalable" } }, always],
];

/** Units that empty no cache when they take a root table over (CAP.ESRTPS=0). */
const oldLegacy: VtdOptions = { mode: "legacy", cap: 0x00d2008c222f0606n, ecap: 0x0000000000f00f4en };
const oldScalable: VtdOptions = { mode: "scalable", cap: 0x01d2008c222f0606n, ecap: 0x0000480000f00f4en };

/** A kernel that boots where firmware translated. */
const boots: readonly (readonly [name: string, options: MachineOptions])[] = [
  ["boot, legacy", { vtd: oldLegacy, plugins: [leaveFirmwareTranslating(PAGES, false)] }],
  ["boot, scalable", { vtd: oldScalable, plugins: [leaveFirmwareTranslating(PAGES, true)] }],
];

const cases = [
  ...machines.flatMap(([machine, options, scenarios]) =>
    Object.entries(scenarios).map(([name, scenario]) => [`${machine}: ${name}`, options, scenario] as const),
  ),
  ...boots.map(
    ([name, options]) =>
      [
        name,
        options,
        (play: Play) => {
          play.check();
          play.attach(play.core.allocPaging(play.machine.device, { pasid: false }));
        },
      ] as const,
  ),
];

/** What is stale in the first scenario where anything is, with its name. */
function playAll(drop: InvalidationSite | undefined): readonly string[] {
  for (const [name, options, scenario] of cases) {
    const play = new Play(options, drop);
    scenario(play);
    if (play.stale.length > 0) {
      return play.stale.map((what) => `${name}: ${what}`);
    }
  }
  return [];
}

describe("every invalidation of the driver", () => {
  it("leaves something stale when it is dropped, or a rule of the specification makes it redundant", () => {
    expect(judgeSites({ sites: INVALIDATION_SITES, redundant, play: playAll })).toEqual([]);
  });
});
