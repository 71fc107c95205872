import { AMD_IOMMUS, type AmdIommu } from "@iommu-lab/amd-vi";
import { Clock, Scheduler, Trace } from "@iommu-lab/core";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { CONTROL, CONTROL_BIT, DEVICE_TABLE_BASE } from "../registers.ts";
import { AmdIommu as Unit } from "../../src/hardware/amd-iommu.ts";
import { defaultOpenPoints } from "../../src/hardware/open-points.ts";
import { EXTENDED_FEATURE } from "../../src/layout/registers.ts";
import type { Lab } from "../driver/lab.ts";

const CLASSES = [
  ["Untranslated", AT_UNTRANSLATED | REQUEST_WRITE],
  ["Translation Request", AT_TRANSLATION_REQUEST],
  ["Translated", AT_TRANSLATED | REQUEST_WRITE],
] as const;

/** What is looked at. */
export interface Watched {
  /** Functions with an ATC. */
  readonly functions: readonly number[];
  /** Further requester IDs: aliases, and neighbours that the kernel knows nothing of. */
  readonly others: readonly number[];
  /** PASIDs of the functions. */
  readonly pasids: readonly number[];
  /** Pages. */
  readonly pages: readonly number[];
}

/** The unit of a machine. */
export function unitOf(lab: Lab): AmdIommu {
  const [unit] = lab.platform.host.get(AMD_IOMMUS);
  if (unit === undefined) {
    throw new Error("no unit");
  }
  return unit;
}

/** A unit that keeps nothing, over the same memory with the same device table: what a request should get now. */
function freshUnit(lab: Lab): Unit {
  const old = unitOf(lab);
  const clock = new Clock();
  const trace = new Trace(clock);
  const read64 = (offset: number): bigint =>
    (BigInt(old.read32(offset + 4) >>> 0) << 32n) | BigInt(old.read32(offset) >>> 0);
  const unit = new Unit(
    {
      name: "fresh",
      efr: read64(EXTENDED_FEATURE),
      efr2: 0n,
      iotlbSup: true,
      npCache: false,
      caches: "none",
      open: defaultOpenPoints,
    },
    {
      memory: lab.platform.memory,
      clock,
      trace,
      root: { sendInvalidate: () => "lost", sendPageResponse: () => "lost" },
      interrupt: { raise: () => undefined },
    },
  );
  const scheduler = new Scheduler(clock, trace);
  for (const engine of unit.engines) {
    scheduler.addEngine(engine);
  }
  unit.write64(DEVICE_TABLE_BASE, old.read32(DEVICE_TABLE_BASE), old.read32(DEVICE_TABLE_BASE + 4));
  const control = old.read32(CONTROL) & ((1 << CONTROL_BIT.IommuEn) | (1 << CONTROL_BIT.GTEn));
  unit.write64(CONTROL, control, old.read32(CONTROL + 4));
  scheduler.settle();
  return unit;
}

/** What a request gets, in words. Which fault it is does not count, only that it is refused. */
function answer(unit: AmdIommu, rid: number, pasid: number, page: number, flags: number): string {
  const { status, page: host, read, write } = unit.translate(rid, pasid, page, 0, flags);
  if (status !== "success") {
    return "refused";
  }
  if (flags !== AT_TRANSLATION_REQUEST) {
    return `page 0x${host.toString(16)}`;
  }
  return read || write ? `page 0x${host.toString(16)} ${read ? "R" : ""}${write ? "W" : ""}` : "nothing";
}

/** What hardware and the functions' ATCs still believe although memory says something else, one line each. */
export function staleIn(lab: Lab, { functions, others, pasids, pages }: Watched): string[] {
  const fresh = freshUnit(lab);
  const unit = unitOf(lab);
  const found: string[] = [];
  for (const rid of functions) {
    const { atsEnabled, atc } = lab.endpoint(rid);
    // With ATS Enable off an entry sleeps; setting Enable empties the ATC (PCIe 6.2 §10.3.7).
    for (const { page, host, pasid, read, write } of atsEnabled ? atc.entries() : []) {
      const now = fresh.translate(rid, pasid, page, 0, AT_TRANSLATION_REQUEST);
      const holds = now.status === "success" && now.page === host && (now.read || !read) && (now.write || !write);
      if (!holds) {
        found.push(`ATC entry of 0x${rid.toString(16)}, page 0x${page.toString(16)} ${nameOf(pasid)}`);
      }
    }
  }
  const look = (rid: number, pasid: number, page: number): void => {
    for (const [name, flags] of CLASSES) {
      const kept = answer(unit, rid, pasid, page, flags);
      const now = answer(fresh, rid, pasid, page, flags);
      if (kept !== now) {
        const what = `${name} from 0x${rid.toString(16)} to page 0x${page.toString(16)} ${nameOf(pasid)}`;
        found.push(`${what} gets ${kept}, memory says ${now}`);
      }
    }
  };
  for (const page of pages) {
    for (const rid of functions) {
      for (const pasid of pasids) {
        look(rid, pasid, page);
      }
    }
    for (const rid of others) {
      look(rid, NO_PASID, page);
    }
  }
  return found;
}

function nameOf(pasid: number): string {
  return pasid === NO_PASID ? "without PASID" : `PASID ${pasid}`;
}
