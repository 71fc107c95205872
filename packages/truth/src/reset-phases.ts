import type { Device, Op } from "@iommu-lab/core";
import type { PciBus } from "@iommu-lab/pci";
import { pciDev } from "@iommu-lab/pci";
import type { PhaseExpectation } from "./expectation.ts";

/** What a phase's command writes to `reset_method`: a method's name. */
const WRITES = /echo (?<method>\w+) > \S+\/reset_method/u;
/** It prints the list before it writes a new one. */
const PRINTS_FIRST = /cat \S+\/reset_method; echo \w+ > \S+\/reset_method/u;

/**
 * Plays a phase that resets: writes the method that its command names, then resets, with the old methods when the name
 * was refused.
 */
export function* playReset({ phase }: PhaseExpectation, bus: PciBus, device: Device): Op<void> {
  const method = WRITES.exec(phase.command ?? "")?.groups?.["method"];
  let refused: unknown;
  if (method !== undefined) {
    try {
      yield* bus.resets.storeMethods(device, method);
    } catch (error) {
      refused = error;
    }
  }
  yield* bus.resets.storeReset(device);
  if (refused !== undefined) {
    throw refused;
  }
}

/**
 * Between phases the recording's shell wrote `default` to `reset_method` without recording it. Brings a device to the
 * list that was read after a phase which does not write it itself.
 *
 * @returns the step that it took, for the report
 */
export function* prepareMethods(expectation: PhaseExpectation, bus: PciBus, device: Device): Op<string[]> {
  const { state } = expectation.device(device.name);
  const dev = pciDev(device);
  const listed = typeof state === "object" ? state.resetMethods : undefined;
  const now = dev.hasResetFiles ? dev.resetMethods.join(" ") : "none";
  if (listed === undefined || listed === now || now === "none" || WRITES.test(expectation.phase.command ?? "")) {
    return [];
  }
  yield* bus.resets.storeMethods(device, "default");
  return ["reset_method default"];
}

/** The lists before and after a phase; the one that it printed. */
export function printedMethods({ phase }: PhaseExpectation, before: string, after: string): string {
  return PRINTS_FIRST.test(phase.command ?? "") ? before : after;
}
