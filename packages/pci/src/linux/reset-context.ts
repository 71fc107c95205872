import type { Device, IommuCore, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PciDev } from "./pci-dev.ts";
import type { ResetRules } from "./reset-rules.ts";

/**
 * Where a reset is: `prepared` = the IOMMU blocks the function (where the kernel tells it at all), which is not told yet;
 * `done` = the IOMMU lets it through again, config space is not restored; `restored` = it is.
 */
export type ResetPoint = "prepared" | "done" | "restored";

/** Called at each point of a reset; it must not change anything the reset relies on. */
export type ResetObserver = (point: ResetPoint) => void;

/** All that a reset method works with. */
export interface ResetContext {
  readonly core: IommuCore;
  readonly rules: ResetRules;
  readonly dev: PciDev;
  /** The function as the IOMMU core knows it; undefined while it is enumerated. */
  readonly device: Device | undefined;
  /** Functions that the kernel knows on the same bus, this one included when it has been added. */
  readonly onBus: () => readonly PciDev[];
  /** Evaluates `_RST` of the function and says whether that worked; undefined when firmware has none. */
  readonly acpiReset: (() => boolean) | undefined;
  readonly observer: ResetObserver | undefined;
  /** How many staged calls are open. */
  depth: number;
}

/**
 * One method. With `probe` it only says whether it would do.
 *
 * @throws KernelError ENOTTY when it does not fit the function, so that the next one is tried; any other ends the search
 */
export type ResetMethod = (context: ResetContext, probe: boolean) => Op<void>;

/** The method does not fit the function. @throws KernelError ENOTTY */
export function notSupported(context: ResetContext, why: string): never {
  throw new KernelError("ENOTTY", `${context.dev.name}: ${why}`);
}

/** Runs an operation to its end and gives back the kernel's error, if it ended in one. */
export function* failureOf(body: Op<void>): Op<KernelError | undefined> {
  try {
    yield* body;
    return undefined;
  } catch (error) {
    if (error instanceof KernelError) {
      return error;
    }
    throw error;
  }
}

/**
 * Runs a reset between prepare and done of the IOMMU core, where this kernel has them. Done follows whatever the reset
 * returned; a failing prepare means that nothing is reset. Calls may nest.
 *
 * Source: Linux 7.2 `pci_dev_reset_iommu_prepare()`, `pci_dev_reset_iommu_done()` and their callers.
 */
export function* staged(context: ResetContext, body: () => Op<void>): Op<void> {
  const { core, rules, device } = context;
  const told = rules.staged && device !== undefined;
  if (told) {
    yield* core.resetPrepare(device);
  }
  context.depth += 1;
  if (context.depth === 1) {
    context.observer?.("prepared");
  }
  const failure = yield* failureOf(body());
  if (told) {
    yield* core.resetDone(device);
  }
  context.depth -= 1;
  if (context.depth === 0) {
    context.observer?.("done");
  }
  if (failure !== undefined) {
    throw failure;
  }
}
