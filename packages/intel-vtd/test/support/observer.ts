import { Clock, Scheduler, Trace } from "@iommu-lab/core";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import type { VtdOptions } from "@iommu-lab/intel-vtd";
import { VTD_UNIT, VtdUnit } from "@iommu-lab/intel-vtd";
import { GLOBAL_SRTP, GLOBAL_TE, GCMD, GSTS, RTADDR } from "../registers.ts";
import { unitOptions } from "../../src/plugin.ts";
import { type Machine, NIC } from "../driver/machine.ts";

/** A function of the same bus that the kernel knows nothing of. */
const NEIGHBOUR = NIC + 1;
const CLASSES = [
  ["Untranslated", AT_UNTRANSLATED | REQUEST_WRITE],
  ["Translation Request", AT_TRANSLATION_REQUEST],
  ["Translated", AT_TRANSLATED | REQUEST_WRITE],
] as const;

/** A unit that keeps nothing, over the same memory with the same root table: what a request should get now. */
function freshUnit(machine: Machine, options: VtdOptions): VtdUnit {
  const clock = new Clock();
  const trace = new Trace(clock);
  const unit = new VtdUnit(
    { ...unitOptions(options, options.mode !== "legacy"), name: "fresh", caches: "none" },
    {
      memory: machine.platform.memory,
      clock,
      trace,
      root: { sendInvalidate: () => "lost", sendPageResponse: () => "lost" },
      interrupts: { message: () => undefined },
    },
  );
  const scheduler = new Scheduler(clock, trace);
  for (const engine of unit.engines) {
    scheduler.addEngine(engine);
  }
  const old = machine.platform.host.get(VTD_UNIT);
  unit.write32(RTADDR, old.read32(RTADDR));
  unit.write32(RTADDR + 4, old.read32(RTADDR + 4));
  unit.write32(GCMD, GLOBAL_SRTP);
  if ((old.read32(GSTS) & GLOBAL_TE) !== 0) {
    unit.write32(GCMD, GLOBAL_TE);
  }
  scheduler.settle();
  return unit;
}

/** What a request gets, in words. Which fault it is does not count, only that it is refused. */
function answer(unit: VtdUnit, rid: number, pasid: number, page: number, flags: number): string {
  const { status, page: host, read, write } = unit.translate(rid, pasid, page, 0, flags);
  if (status !== "success") {
    return "refused";
  }
  if (flags !== AT_TRANSLATION_REQUEST) {
    return `page 0x${host.toString(16)}`;
  }
  return read || write ? `page 0x${host.toString(16)} ${read ? "R" : ""}${write ? "W" : ""}` : "nothing";
}

/** What hardware and the function's ATC still believe although memory says something else, one line each. */
export function staleIn(
  machine: Machine,
  options: VtdOptions,
  pasids: readonly number[],
  pages: readonly number[],
): string[] {
  const fresh = freshUnit(machine, options);
  const unit = machine.platform.host.get(VTD_UNIT);
  const found: string[] = [];
  // With ATS Enable off an entry sleeps; setting Enable empties the ATC (PCIe 6.2 §10.3.7).
  const awake = machine.endpoint.atsEnabled;
  for (const { page, host, pasid, read, write } of awake ? machine.endpoint.atc.entries() : []) {
    const now = fresh.translate(NIC, pasid, page, 0, AT_TRANSLATION_REQUEST);
    const holds = now.status === "success" && now.page === host && (now.read || !read) && (now.write || !write);
    if (!holds) {
      found.push(`ATC entry of page 0x${page.toString(16)} ${nameOf(pasid)}`);
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
    for (const pasid of pasids) {
      look(NIC, pasid, page);
    }
    look(NEIGHBOUR, NO_PASID, page);
  }
  return found;
}

function nameOf(pasid: number): string {
  return pasid === NO_PASID ? "without PASID" : `PASID ${pasid}`;
}
