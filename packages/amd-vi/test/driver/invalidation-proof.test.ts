import { type Domain, type Op, PROT_READ, PROT_WRITE, Process, x86_64 } from "@iommu-lab/core";
import { AMD_ATS_SLOT, amdIdentityAtsOff } from "@iommu-lab/amd-vi";
import { AT_UNTRANSLATED, NO_PASID, PCI_BUS, REQUEST_WRITE } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { disturbed, judgeSites } from "../../../../test/invalidation-proof.ts";
import { SvaDomain } from "../../src/driver/domains.ts";
import { type CommandFilter, INVALIDATION_SITES, type InvalidationSite } from "../../src/driver/invalidation-site.ts";
import redundant from "../redundant.json" with { type: "json" };
import { BEHIND, BEHIND_ALIAS, bridgedTopology } from "../support/bridged.ts";
import { leaveFirmwareTranslating } from "../support/firmware-left-on.ts";
import { type Watched, staleIn, unitOf } from "../support/observer.ts";
import { Lab, type LabOptions, NIC, PLAIN } from "./lab.ts";

const RW = PROT_READ | PROT_WRITE;
const PAGES = [7, 8, 9] as const;
/** Two in one leaf of the GCR3 table, one in another. */
const PASIDS = [1, 2, 0x203] as const;
/** A requester ID that no function has. */
const NEIGHBOUR = NIC + 1;
/** On another bus than the function whose DMA firmware says carries it. */
const FAR_ALIAS = 0x0340;

/** What is played on: a machine, and the functions that take part. */
interface Stage extends LabOptions {
  /** The function under test. Default {@link NIC}. */
  readonly rid?: number;
  /** Requester IDs besides those of functions. */
  readonly others?: readonly number[];
  /** The function under test uses PASIDs. */
  readonly pasids?: boolean;
}

/** One machine under test: what it does, and what turned out stale after each operation. */
class Play {
  readonly lab: Lab;
  readonly stale: string[] = [];
  readonly rid: number;
  readonly watched: Watched;

  constructor({ rid = NIC, others = [NEIGHBOUR], pasids = false, ...options }: Stage, filter: CommandFilter) {
    this.rid = rid;
    const functions = rid === NIC ? [NIC, PLAIN] : [rid];
    this.watched = { functions, others, pasids: pasids ? [NO_PASID, ...PASIDS] : [NO_PASID], pages: PAGES };
    this.lab = new Lab({ ...options, filter, quiet: true });
  }

  boot(): this {
    this.lab.boot();
    return this;
  }

  /** Devices that do all kinds of DMA, so that every cache holds what it may hold. */
  dma(): void {
    const { functions, others, pasids } = this.watched;
    for (const page of PAGES) {
      for (const rid of functions) {
        const endpoint = this.lab.endpoint(rid);
        for (const pasid of rid === PLAIN ? [NO_PASID] : pasids) {
          endpoint.untranslatedWrite(page, 0, 1, pasid);
          endpoint.dmaWrite(page, 0, 1, pasid);
        }
      }
      for (const rid of others) {
        unitOf(this.lab).translate(rid, NO_PASID, page, 0, AT_UNTRANSLATED | REQUEST_WRITE);
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
    this.stale.push(...staleIn(this.lab, this.watched));
  }

  get core(): Lab["platform"]["iommu"] {
    return this.lab.platform.iommu;
  }

  /** A domain that maps pages 7 and 8 to memory of its own. */
  domain(rid: number = this.rid): Domain {
    const domain = this.core.allocPaging(this.lab.device(rid), { pasid: false });
    for (const page of [7, 8]) {
      this.map(domain, page);
    }
    return domain;
  }

  map(domain: Domain, page: number): void {
    if (domain.map !== undefined) {
      this.lab.run(domain.map(page, this.lab.buffer(), 1, RW));
    }
  }

  attach(domain: Domain, rid: number = this.rid): void {
    this.run(this.core.setGroupDomain(this.lab.group(rid), domain));
  }

  block(rid: number = this.rid): void {
    this.attach(this.core.blockingDomain(this.lab.group(rid)), rid);
  }

  type(rid: number, type: string): void {
    this.run(this.core.storeType(this.lab.group(rid), type));
  }

  /** A process with all pages, and its domain. */
  process(): { process: Process; domain: SvaDomain } {
    const process = new Process(this.lab.platform.memory, x86_64, "p");
    for (const page of PAGES) {
      process.table.map(page, this.lab.buffer(), 1, RW);
    }
    const domain = this.core.allocSva(this.lab.device(this.rid), process);
    if (!(domain instanceof SvaDomain)) {
      throw new TypeError("no SVA domain");
    }
    return { process, domain };
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
  "a domain that nobody uses changes, and comes back": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    play.attach(one);
    play.attach(other);
    play.lab.run(one.unmap?.(7, 1) ?? done());
    play.map(one, 9);
    play.attach(one);
  },
  "the domain ID of a freed domain is given to another one": (play) => {
    const [one, other] = [play.domain(), play.domain()];
    play.attach(one);
    play.attach(other);
    one.free?.();
    const next = play.core.allocPaging(play.lab.device(play.rid), { pasid: false });
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
  "removed and found again": (play) => {
    const bus = play.lab.platform.host.get(PCI_BUS);
    play.attach(play.domain());
    play.run(bus.remove(play.lab.device(play.rid)));
    play.run(bus.scan());
  },
};

/** What needs a function with ATS, and another one beside it. */
const withAts: Readonly<Record<string, Scenario>> = {
  "types of the default domain": (play) => {
    play.type(PLAIN, "identity");
    play.type(PLAIN, "DMA");
  },
  reset: (play) => {
    play.attach(play.domain());
    play.run(play.lab.platform.host.get(PCI_BUS).resetFunction(play.lab.device(play.rid)));
  },
  "two functions in one domain": (play) => {
    const one = play.domain();
    play.attach(one);
    play.attach(one, PLAIN);
    play.run(one.unmap?.(7, 1) ?? done());
    play.block();
    play.map(one, 9);
    play.run(one.unmap?.(8, 1) ?? done());
    play.attach(one);
    play.block(PLAIN);
  },
};

const withProcesses: Readonly<Record<string, Scenario>> = {
  "processes come, unmap, end and go": (play) => {
    const { process, domain } = play.process();
    const device = play.lab.device(play.rid);
    for (const pasid of PASIDS) {
      play.run(play.core.attachPasid(domain, device, pasid));
    }
    process.table.unmap(7, 1);
    play.run(domain.unmapped(7, 1));
    play.run(play.core.detachPasid(device, 1));
    play.run(play.core.attachPasid(play.process().domain, device, 1));
    play.run(domain.processEnds());
    for (const pasid of PASIDS) {
      play.run(play.core.detachPasid(device, pasid));
    }
    play.block();
  },
};

const identityOff: LabOptions = { kernel: { slots: { [AMD_ATS_SLOT]: amdIdentityAtsOff } } };
const guestTables: LabOptions = { kernel: { cmdline: "amd_iommu=pgtbl_v2" } };
const bridged: Stage = { topology: bridgedTopology(), rid: BEHIND, others: [BEHIND_ALIAS] };
const farAlias: Stage = { aliases: [{ rid: NIC, alias: FAR_ALIAS }], others: [FAR_ALIAS] };
const functions = { ...always, ...withAts };

/** Kernels, tables and units, each with the scenarios that make sense there. */
const machines: readonly (readonly [name: string, stage: Stage, scenarios: Readonly<Record<string, Scenario>>])[] = [
  ["7.2", {}, functions],
  ["7.2, guest tables", guestTables, functions],
  ["7.2, NpCache", { npCache: true }, functions],
  ["7.2, NpCache, guest tables", { ...guestTables, npCache: true }, always],
  ["7.2", { pasids: true }, withProcesses],
  ["7.2, NpCache", { npCache: true, pasids: true }, withProcesses],
  ["7.2, ATS off for IDENTITY", { ...identityOff, pasids: true }, withProcesses],
  ["7.2, behind a bridge", bridged, always],
  ["7.2, alias on another bus", farAlias, always],
  ["6.12", { version: "6.12" }, functions],
  ["6.12, guest tables", { ...guestTables, version: "6.12" }, functions],
  ["6.12", { version: "6.12", pasids: true }, withProcesses],
  ["6.12, NpCache", { version: "6.12", npCache: true }, always],
  ["6.12, behind a bridge", { ...bridged, version: "6.12" }, always],
  ["6.1", { version: "6.1" }, functions],
  ["6.1, NpCache", { version: "6.1", npCache: true }, always],
  ["6.1, behind a bridge", { ...bridged, version: "6.1" }, always],
];

const FIRMWARE_IDS = [NIC, NEIGHBOUR, PLAIN, PLAIN + 1, 0x300, 0x301, 0x102, 0x202];
const plugins = [leaveFirmwareTranslating(FIRMWARE_IDS, PAGES)];

/** A kernel that boots where firmware translated: looked at as soon as a function is attached, and in the end. */
function boot(play: Play): void {
  let looking = false;
  play.lab.platform.trace.subscribe(({ type }) => {
    if (type === "domain:attached" && !looking) {
      looking = true;
      play.check();
      looking = false;
    }
  });
  play.boot();
  play.check();
  play.attach(play.core.allocPaging(play.lab.device(PLAIN), { pasid: false }), PLAIN);
}

type Case = readonly [name: string, stage: Stage, scenario: Scenario];

const cases: readonly Case[] = [
  ...machines.flatMap(([machine, stage, scenarios]) =>
    Object.entries(scenarios).map(([name, scenario]): Case => [
      `${machine}: ${name}`,
      stage,
      (play) => scenario(play.boot()),
    ]),
  ),
  ["boot", { plugins }, boot],
  ["boot without INVALIDATE_IOMMU_ALL", { plugins, invalidateAll: false }, boot],
  ["boot of 6.1", { plugins, version: "6.1" }, boot],
];

/** The sites that a case passes when none is dropped: the others make no difference to it. */
const passed = new Map<string, ReadonlySet<InvalidationSite>>();

function playOne([name, stage, scenario]: Case, ...drop: readonly InvalidationSite[]): readonly string[] {
  const seen = new Set<InvalidationSite>();
  const play = new Play(stage, (site) => {
    seen.add(site);
    return !drop.includes(site);
  });
  try {
    scenario(play);
  } catch (error) {
    throw new Error(`${name}, ${drop.join(" and ") || "nothing"} dropped`, { cause: error });
  }
  if (drop.length === 0) {
    passed.set(name, seen);
  }
  return play.stale.map((what) => `${name}: ${what}`);
}

/** What is stale: everywhere when nothing is dropped, else in the first case where anything is. */
function playAll(drop: InvalidationSite | undefined): readonly string[] {
  if (drop === undefined) {
    return cases.flatMap((one) => playOne(one));
  }
  for (const one of cases) {
    const stale = passed.get(one[0])?.has(drop) === false ? [] : playOne(one, drop);
    if (stale.length > 0) {
      return stale;
    }
  }
  return [];
}

describe("every invalidation of the driver", () => {
  it("leaves something stale when it is dropped, or a rule of the specification makes it redundant", () => {
    expect(judgeSites({ sites: INVALIDATION_SITES, redundant, play: playAll })).toEqual([]);
  });

  it("of two that make each other redundant, one must be sent (6.1: at attach and at detach)", () => {
    const stale = cases.flatMap((one) =>
      one[0].startsWith("6.1:") ? playOne(one, "attach-6.1:pages", "detach-6.1:pages") : [],
    );
    expect(stale.length).toBeGreaterThan(0);
  });

  it("is passed by a case, or never sent", () => {
    const known = [...passed.values()];
    const never = Object.entries(redundant).filter(([, rule]) => rule.startsWith("Never sent"));
    expect(INVALIDATION_SITES.filter((site) => !known.some((sites) => sites.has(site)))).toEqual(
      never.map(([site]) => site),
    );
  });
});

/**
 * What is stale although every invalidation is sent, in the kernels as they are: the domain ID of a GCR3 table goes back to
 * the pool with the translations of its PASIDs still held, because detaching invalidates the domain ID of the IDENTITY domain
 * and not the device's own. Derived from Linux 7.2 `detach_device()`, `destroy_gcr3_table()`; never seen on hardware.
 */
describe("a RID that leaves IDENTITY with PASIDs attached", () => {
  const stillHeld = (version: string): readonly string[] => {
    const play = new Play({ version, pasids: true }, () => true).boot();
    const { domain } = play.process();
    play.run(play.core.attachPasid(domain, play.lab.device(NIC), 2));
    expect(play.stale).toEqual([]);
    play.block();
    expect(play.stale).toEqual([]);
    const { defaultDomain } = play.lab.group(NIC);
    if (defaultDomain?.type !== "IDENTITY") {
      throw new Error("not on IDENTITY by default");
    }
    play.attach(defaultDomain);
    return play.stale;
  };

  it.each(["7.2", "6.12"])(
    "%s: the next GCR3 table has the same domain ID, and the process's pages are in reach",
    (version) => {
      const stale = stillHeld(version).map((what) => what.replaceAll(/0x[0-9a-f]+/gu, "N"));
      expect([...new Set(stale)]).toEqual([
        "ATC entry of N, page N PASID 2",
        "Untranslated from N to page N PASID 2 gets page N, memory says refused",
        "Translation Request from N to page N PASID 2 gets page N RW, memory says nothing",
      ]);
      expect(stale.length).toBe(3 * PAGES.length);
    },
  );
});
