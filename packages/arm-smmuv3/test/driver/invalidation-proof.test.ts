import { type Domain, type Op, PROT_READ, PROT_WRITE, Process } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { disturbed, judgeSites } from "../../../../test/invalidation-proof.ts";
import { SvaDomain } from "../../src/driver/domains.ts";
import { type CommandFilter, INVALIDATION_SITES, type InvalidationSite } from "../../src/driver/invalidation-site.ts";
import { vmsav8_64Process } from "../../src/layout/vmsav8-64.ts";
import redundant from "../redundant.json" with { type: "json" };
import { ACCELERATOR, Lab, type LabOptions, NIC } from "../support/lab.ts";
import { leaveFirmwareTranslating } from "../support/firmware-left-on.ts";
import { staleIn } from "../support/observer.ts";

const RW = PROT_READ | PROT_WRITE;
const PAGES = [7, 8, 9] as const;
/** Two in one leaf of context descriptors, one in another. */
const PASIDS = [1, 2, 5000] as const;
const EVERY = [NO_PASID, ...PASIDS];

/** One machine under test: what it does, and what turned out stale after each operation. */
class Play {
  readonly lab: Lab;
  readonly stale: string[] = [];
  readonly #options: LabOptions;

  constructor(options: LabOptions, drop: InvalidationSite | undefined) {
    const filter: CommandFilter = (site, commands) => (site === drop ? [] : commands);
    this.#options = options;
    this.lab = new Lab({ ...options, filter, record: false });
  }

  /** A device that does all kinds of DMA, so that every cache holds what it may hold. */
  dma(): void {
    const { endpoint } = this.lab;
    for (const pasid of EVERY) {
      for (const page of PAGES) {
        endpoint.untranslatedWrite(page, 0, 1, pasid);
        endpoint.dmaWrite(page, 0, 1, pasid);
      }
    }
  }

  /** Runs an operation under DMA, then looks for what is stale. */
  run(op: Op<unknown>): void {
    this.dma();
    this.lab.run(disturbed(op, () => this.dma()));
    this.check();
  }

  check(): void {
    this.stale.push(...staleIn(this.lab, this.#options, EVERY, PAGES));
  }

  /** A domain that maps pages 7 and 8 to memory of its own. */
  domain(pasid: boolean = false): Domain {
    const domain = this.lab.platform.iommu.allocPaging(this.lab.device, { pasid });
    for (const page of [7, 8]) {
      this.map(domain, page);
    }
    return domain;
  }

  map(domain: Domain, page: number): void {
    const host = this.lab.platform.memory.allocate(4096, 4096, "test", "buffer") / 4096;
    if (domain.map !== undefined) {
      this.lab.run(domain.map(page, host, 1, RW));
    }
  }
}

type Scenario = (play: Play) => void;

function attach(play: Play, domain: Domain): void {
  play.run(play.lab.platform.iommu.setGroupDomain(play.lab.group, domain));
}

const scenarios: Readonly<Record<string, Scenario>> = {
  "attach, replace, block": (play) => {
    const { iommu } = play.lab.platform;
    const [one, other] = [play.domain(), play.domain()];
    attach(play, one);
    attach(play, other);
    attach(play, iommu.blockingDomain(play.lab.group));
    attach(play, one);
    play.run(iommu.storeType(play.lab.group, "identity"));
  },
  "a domain that nobody uses changes, and comes back": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    attach(play, one);
    attach(play, other);
    play.lab.run(one.unmap?.(7, 1) ?? done());
    play.map(one, 9);
    attach(play, one);
  },
  "the tag of a freed domain is given to another one": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    attach(play, one);
    attach(play, other);
    one.free?.();
    const next = play.lab.platform.iommu.allocPaging(play.lab.device, { pasid: false });
    play.map(next, 9);
    attach(play, next);
  },
  "map and unmap": (play) => {
    const one = play.domain();
    attach(play, one);
    play.map(one, 9);
    play.check();
    play.run(one.unmap?.(7, 2) ?? done());
    play.map(one, 7);
    play.check();
    play.run(one.flushAll?.() ?? done());
  },
  "PASIDs come, are replaced and go": (play) => {
    const { iommu } = play.lab.platform;
    const { device } = play.lab;
    const [one, other] = [play.domain(true), play.domain(true)];
    for (const pasid of PASIDS) {
      play.run(iommu.attachPasid(one, device, pasid));
    }
    if (iommu.rules.pasid === "attach-replace") {
      play.run(iommu.replacePasid(other, device, 2));
    }
    play.run(one.unmap?.(7, 1) ?? done());
    for (const pasid of PASIDS) {
      play.run(iommu.detachPasid(device, pasid));
    }
  },
  "the same with the RID on IDENTITY and BLOCKED": (play) => {
    const { iommu } = play.lab.platform;
    const { device, group } = play.lab;
    play.run(iommu.storeType(group, "identity"));
    const one = play.domain(true);
    play.run(iommu.attachPasid(one, device, 1));
    attach(play, iommu.blockingDomain(group));
    play.run(iommu.attachPasid(one, device, 2));
    play.run(iommu.detachPasid(device, 1));
    play.run(iommu.detachPasid(device, 2));
  },
  "a process unmaps and ends": (play) => {
    const { iommu, memory } = play.lab.platform;
    const process = new Process(memory, vmsav8_64Process, "p");
    for (const page of PAGES) {
      process.table.map(page, memory.allocate(4096, 4096, "test", "buffer") / 4096, 1, RW);
    }
    const domain = iommu.allocSva(play.lab.device, process);
    if (!(domain instanceof SvaDomain)) {
      throw new TypeError("no SVA domain");
    }
    play.run(iommu.attachPasid(domain, play.lab.device, 1));
    play.dma();
    process.table.unmap(7, 1);
    play.run(domain.unmapped(7, 1));
    play.run(domain.processEnds());
  },
  reset: (play) => {
    const { iommu } = play.lab.platform;
    const one = play.domain(true);
    play.run(iommu.attachPasid(one, play.lab.device, 1));
    play.run(play.lab.bus.resetFunction(play.lab.device));
  },
  "removed and found again": (play) => {
    const { bus } = play.lab;
    const one = play.domain(true);
    play.run(play.lab.platform.iommu.attachPasid(one, play.lab.device, 1));
    play.run(play.lab.platform.iommu.detachPasid(play.lab.device, 1));
    play.run(bus.remove(play.lab.device));
    play.run(bus.scan());
  },
};

function* done(): Op<number> {
  yield* [];
  return 0;
}

/** A kernel that boots where firmware translated, on either regime. */
function boot(el2: boolean): LabOptions {
  return { smmu: { el2 }, plugins: [leaveFirmwareTranslating(PAGES, el2)] };
}

function afterBoot(play: Play): void {
  play.check();
  attach(play, play.lab.platform.iommu.allocPaging(play.lab.device, { pasid: false }));
}

function through61(play: Play): void {
  const [one, other] = [play.domain(), play.domain()];
  attach(play, one);
  attach(play, other);
  one.free?.();
  const next = play.lab.platform.iommu.allocPaging(play.lab.device, { pasid: false });
  attach(play, next);
  attach(play, play.lab.driver.allocIdentity(play.lab.device));
  attach(play, other);
  play.run(play.lab.bus.remove(play.lab.device));
}

/** Every scenario on a function with PASIDs and on one that requires ATS. */
const cases: readonly (readonly [name: string, options: LabOptions, scenario: Scenario])[] = [
  ...Object.entries(scenarios).flatMap(([name, scenario]) => [
    [name, { device: NIC }, scenario] as const,
    [`${name} (requires ATS)`, { device: ACCELERATOR }, scenario] as const,
  ]),
  ...Object.entries(scenarios).map(
    ([name, scenario]) => [`${name} (Linux 6.12)`, { device: NIC, version: "6.12" }, scenario] as const,
  ),
  ...["a domain that nobody uses changes, and comes back", "map and unmap"].map(
    (name) => [`${name} (Linux 6.1)`, { device: NIC, version: "6.1" }, scenarios[name] ?? afterBoot] as const,
  ),
  ["through every kind of domain (Linux 6.1)", { device: NIC, version: "6.1" }, through61],
  ["boot", boot(false), afterBoot],
  ["boot at EL2", boot(true), afterBoot],
];

/** What is stale in the first scenario where anything is, with its name. */
function playAll(drop: InvalidationSite | undefined): readonly string[] {
  for (const [name, options, scenario] of cases) {
    const play = new Play(options, drop);
    try {
      scenario(play);
    } catch (error) {
      throw new Error(`${name}, ${drop ?? "nothing"} dropped`, { cause: error });
    }
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
