import { Clock, Scheduler, Trace } from "@iommu-lab/core";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { idRegistersOf } from "../../src/plugin.ts";
import { Smmu } from "../../src/hardware/smmu.ts";
import { interruptLines } from "../../src/interrupt-line.ts";
import { CR0, REG } from "../../src/layout/registers.ts";
import type { Lab, LabOptions } from "./lab.ts";

const RID = 0x100;
/** A stream of the same bus that the kernel attaches nobody to. */
const NEIGHBOUR = 0x101;
const CLASSES = [
  ["Untranslated", AT_UNTRANSLATED | REQUEST_WRITE],
  ["Translation Request", AT_TRANSLATION_REQUEST],
  ["Translated", AT_TRANSLATED | REQUEST_WRITE],
] as const;

/** An SMMU that keeps nothing, over the same memory with the same registers: what a request should get now. */
function freshSmmu(lab: Lab, options: LabOptions): Smmu {
  const clock = new Clock();
  const trace = new Trace(clock);
  const smmu = new Smmu(
    {
      name: "fresh",
      id: idRegistersOf(options.smmu ?? {}),
      atcTimeout: 1,
      caches: "none",
      streamIdOf: (rid) => rid,
      ridOf: (sid) => sid,
    },
    {
      memory: lab.platform.memory,
      clock,
      trace,
      root: { sendInvalidate: () => "lost", sendPageResponse: () => "lost" },
      interrupts: interruptLines("fresh"),
    },
  );
  const scheduler = new Scheduler(clock, trace);
  for (const engine of smmu.engines) {
    scheduler.addEngine(engine);
  }
  for (const register of [REG.cr2, REG.strtabBase, REG.strtabBase + 4, REG.strtabBaseCfg]) {
    smmu.write32(register, lab.hardware.read32(register));
  }
  smmu.write32(REG.cr0, lab.hardware.read32(REG.cr0Ack) & (CR0.smmuen | CR0.atschk));
  scheduler.settle();
  return smmu;
}

/** What a request gets, in words. Which fault it is does not count, only that it is refused. */
function answer(smmu: Smmu, rid: number, pasid: number, page: number, flags: number): string {
  const { status, page: host, read, write } = smmu.translate(rid, pasid, page, 0, flags);
  if (status !== "success") {
    return "refused";
  }
  return flags === AT_TRANSLATION_REQUEST
    ? `page 0x${host.toString(16)} ${read ? "R" : ""}${write ? "W" : ""}`
    : `page 0x${host.toString(16)}`;
}

/** What hardware and the function's ATC still believe although memory says something else, one line each. */
export function staleIn(lab: Lab, options: LabOptions, pasids: readonly number[], pages: readonly number[]): string[] {
  const fresh = freshSmmu(lab, options);
  const found: string[] = [];
  // The ATC first: the requests below fill it no more, but those of a device would.
  for (const { page, host, pasid, read, write } of lab.endpoint.atc.entries()) {
    const now = fresh.translate(RID, pasid, page, 0, AT_TRANSLATION_REQUEST);
    const holds = now.status === "success" && now.page === host && (now.read || !read) && (now.write || !write);
    if (!holds) {
      found.push(`ATC entry of page 0x${page.toString(16)} ${nameOf(pasid)}`);
    }
  }
  const look = (rid: number, pasid: number, page: number): void => {
    for (const [name, flags] of CLASSES) {
      const kept = answer(lab.hardware, rid, pasid, page, flags);
      const now = answer(fresh, rid, pasid, page, flags);
      if (kept !== now) {
        const what = `${name} from 0x${rid.toString(16)} to page 0x${page.toString(16)} ${nameOf(pasid)}`;
        found.push(`${what} gets ${kept}, memory says ${now}`);
      }
    }
  };
  for (const page of pages) {
    for (const pasid of pasids) {
      look(RID, pasid, page);
    }
    look(NEIGHBOUR, NO_PASID, page);
  }
  return found;
}

function nameOf(pasid: number): string {
  return pasid === NO_PASID ? "without PASID" : `PASID ${pasid}`;
}
