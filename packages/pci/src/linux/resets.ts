import type { Device, IommuCore, Op } from "@iommu-lab/core";
import { KernelError, KernelOops, preempt } from "@iommu-lab/core";
import { type PciDev, pciDev } from "./pci-dev.ts";
import { type ResetContext, type ResetObserver, failureOf } from "./reset-context.ts";
import { pcieFlr } from "./reset-flr.ts";
import { RESET_METHODS } from "./reset-methods.ts";
import { type ResetMethodName, type ResetRules, resetRules } from "./reset-rules.ts";
import { upstreamBridge } from "./reset-secondary.ts";
import { pciRestoreState, pciSaveState } from "./save-restore.ts";

const COMMAND = 4;
const INTX_DISABLE = 0x400;

/** Whether there is a reset method. Source: Linux 7.2 `pci_reset_supported()`. */
export function pciResetSupported(dev: PciDev): boolean {
  return dev.resetMethods.length > 0;
}

/** What a machine's resets of single functions need. */
export interface PciResetsInit {
  /** The IOMMU core, which 7.2 tells. */
  readonly core: IommuCore;
  /** The functions that the kernel knows on the bus of one. */
  readonly onBus: (dev: PciDev) => readonly PciDev[];
  /** Evaluates `_RST` of a function; undefined when firmware has none. */
  readonly acpiReset: (name: string) => (() => boolean) | undefined;
}

/** Resets of single functions: which methods there are, and how one is used. */
export class PciResets {
  readonly #init: PciResetsInit;

  constructor(init: PciResetsInit) {
    this.#init = init;
  }

  /**
   * Looks for methods, in the kernel's order; an error other than ENOTTY ends the search. At enumeration, before the
   * function is added, and again for `default` in sysfs.
   *
   * Source: Linux 7.2 `pci_init_reset_methods()`.
   */
  *discover(dev: PciDev, device?: Device): Op<void> {
    const found: ResetMethodName[] = [];
    const context = this.#context(dev, device);
    for (const name of context.rules.methods) {
      const errno = yield* this.#try(context, name, true);
      if (errno === "0") {
        found.push(name);
      } else if (errno !== "ENOTTY") {
        break;
      }
    }
    dev.resetMethods = found;
  }

  /**
   * sysfs `reset_method`, read. @throws KernelError ENOENT for a function that had no method when it was added
   */
  showMethods(device: Device): string {
    const dev = pciDev(device);
    this.#expectFile(dev, "reset_method");
    return dev.resetMethods.join(" ");
  }

  /**
   * sysfs `reset_method`, written: `""` disables all, `default` looks again, a list of names replaces the old one when
   * every name is known and fits. The old list stays otherwise.
   *
   * Source: Linux 7.2 `reset_method_store()`.
   *
   * @throws KernelError EINVAL; ENOENT for a function that had no method when it was added
   */
  *storeMethods(device: Device, text: string): Op<void> {
    const dev = pciDev(device);
    this.#expectFile(dev, "reset_method");
    const line = text.replace(/\n$/u, "");
    if (line === "") {
      dev.resetMethods = [];
      dev.warn("reset_method_store", "all device reset methods disabled by user");
      return;
    }
    if (line === "default") {
      yield* this.discover(dev, device);
      return;
    }
    const context = this.#context(dev, device);
    const names: ResetMethodName[] = [];
    for (const word of line.split(" ").filter((one) => one !== "")) {
      const name = context.rules.methods.find((one) => one === word.trim());
      if (name === undefined) {
        throw new KernelError("EINVAL", `invalid reset method ${JSON.stringify(word)}`);
      }
      if ((yield* this.#try(context, name, true)) !== "0") {
        throw new KernelError("EINVAL", `unsupported reset method ${JSON.stringify(name)}`);
      }
      if (names.length === context.rules.methods.length) {
        throw new KernelError("EINVAL", "too many reset methods");
      }
      names.push(name);
    }
    if ((yield* this.#try(context, "device_specific", true)) === "0" && names[0] !== "device_specific") {
      dev.warn("reset_method_store", "device-specific reset disabled or de-prioritized by user");
    }
    dev.resetMethods = names;
  }

  /**
   * sysfs `reset`: {@link PciResets.resetFunction} for a function that had a method when it was added.
   *
   * @throws KernelError ENOENT for one that had none, ENOTTY when all were disabled since, or what the method returned
   */
  *storeReset(device: Device): Op<void> {
    this.#expectFile(pciDev(device), "reset");
    yield* this.resetFunction(device);
  }

  /**
   * Resets a function for a user or its driver: quiesce (Bus Master off), reset, restore. Restoring happens whatever the
   * reset returned.
   *
   * Source: Linux 7.2 `pci_reset_function()`.
   *
   * @throws KernelError ENOTTY without a method that fits, or what the method returned
   */
  *resetFunction(device: Device, observer?: ResetObserver): Op<void> {
    const dev = pciDev(device);
    this.#expectMethod(dev);
    const bridge = this.#rules(dev).locksBridge ? upstreamBridge(dev) : undefined;
    const locked = bridge === undefined ? [dev] : [bridge, dev];
    for (const one of locked) {
      yield one.lock.exclusive;
    }
    yield* unlocking(locked, this.#quiesced(this.#context(dev, device, observer)));
  }

  /**
   * The same for VFIO: it does not wait for the device lock, and leaves the bridge alone.
   *
   * Source: Linux 7.2 `pci_try_reset_function()`.
   *
   * @throws KernelError EAGAIN when somebody holds the lock
   */
  *tryResetFunction(device: Device, observer?: ResetObserver): Op<void> {
    const dev = pciDev(device);
    this.#expectMethod(dev);
    if (!dev.lock.free("exclusive")) {
      throw new KernelError("EAGAIN", `${dev.name} is locked`);
    }
    yield dev.lock.exclusive;
    yield* unlocking([dev], this.#quiesced(this.#context(dev, device, observer)));
  }

  /**
   * Resets a function whose lock the caller holds. Nothing is quiesced, saved or restored.
   *
   * Source: Linux 7.2 `__pci_reset_function_locked()`.
   *
   * @throws KernelError ENOTTY when no method fits, or what the first that fits returned
   */
  resetFunctionLocked(device: Device, observer?: ResetObserver): Op<void> {
    return this.#byMethods(this.#context(pciDev(device), device, observer));
  }

  /**
   * A driver's own FLR: nothing is quiesced, saved or restored, but in 7.2 the IOMMU is told.
   *
   * Source: Linux 7.2 `pcie_flr()`.
   */
  flr(device: Device, observer?: ResetObserver): Op<void> {
    return pcieFlr(this.#context(pciDev(device), device, observer));
  }

  *#quiesced(context: ResetContext): Op<void> {
    const { dev } = context;
    yield* pciDevSaveAndDisable(dev);
    const failure = yield* failureOf(this.#byMethods(context));
    yield* pciRestoreState(dev);
    context.observer?.("restored");
    if (failure !== undefined) {
      throw failure;
    }
  }

  *#byMethods(context: ResetContext): Op<void> {
    for (const name of context.dev.resetMethods) {
      const errno = yield* this.#try(context, name, false);
      if (errno === "0") {
        return;
      }
      if (errno !== "ENOTTY") {
        throw new KernelError(errno, `${context.dev.name}: reset by ${name} failed`);
      }
    }
    throw new KernelError("ENOTTY", `${context.dev.name}: no reset method worked`);
  }

  *#try(context: ResetContext, method: ResetMethodName, probe: boolean): Op<KernelError["errno"] | "0"> {
    const result = (yield* failureOf(RESET_METHODS[method](context, probe)))?.errno ?? "0";
    const { dev, device } = context;
    if (dev.trace.active && (device !== undefined || result === "0")) {
      dev.trace.emit("reset:method", { device: dev.name, method, probe, result });
    }
    return result;
  }

  #context(dev: PciDev, device: Device | undefined, observer?: ResetObserver): ResetContext {
    return {
      core: this.#init.core,
      rules: this.#rules(dev),
      dev,
      device,
      onBus: () => this.#init.onBus(dev),
      acpiReset: this.#init.acpiReset(dev.name),
      observer,
      depth: 0,
    };
  }

  #rules(dev: PciDev): ResetRules {
    return resetRules(dev.platform.profile);
  }

  #expectMethod(dev: PciDev): void {
    if (!pciResetSupported(dev)) {
      throw new KernelError("ENOTTY", `${dev.name} has no reset method`);
    }
  }

  #expectFile(dev: PciDev, file: string): void {
    if (!dev.hasResetFiles) {
      throw new KernelError("ENOENT", `${dev.name} has no file ${file}: it had no reset method when it was added`);
    }
  }
}

/**
 * Quiesces a function before a reset: its state is saved, then memory, I/O and Bus Master go off.
 *
 * Source: Linux 7.2 `pci_dev_save_and_disable()`.
 */
export function* pciDevSaveAndDisable(dev: PciDev): Op<void> {
  pciSaveState(dev);
  yield preempt;
  dev.write16(COMMAND, INTX_DISABLE, "Command");
}

/** Runs an operation under locks that are held already, and gives them back in the reverse order. An oops keeps them. */
export function* unlocking(locked: readonly PciDev[], body: Op<void>): Op<void> {
  try {
    yield* body;
  } catch (error) {
    if (!(error instanceof KernelOops)) {
      locked.toReversed().forEach((one) => one.lock.release());
    }
    throw error;
  }
  locked.toReversed().forEach((one) => one.lock.release());
}
