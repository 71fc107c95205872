import type { Device, Op } from "@iommu-lab/core";
import { KernelError, preempt, sleep } from "@iommu-lab/core";
import { EXT_CAP_ID_DPC } from "../config-space/extended-layouts.ts";
import { type PciDev, pciDev } from "./pci-dev.ts";
import { failureOf } from "./reset-context.ts";
import { hasBrokenBusReset } from "./reset-quirks.ts";
import { type ResetRules, resetRules } from "./reset-rules.ts";
import { inHotplugSlot, pciSecondaryBusReset } from "./reset-secondary.ts";
import { pciWaitForLinkStatus, pciWaitForSecondaryBus } from "./reset-wait.ts";
import { pciDevSaveAndDisable, unlocking } from "./resets.ts";
import { pciRestoreState } from "./save-restore.ts";

const DPC_STATUS = 8;
const DPC_TRIGGERED = 1;
const DPC_INTERRUPT = 8;
const DPC_RP_BUSY = 0x10;
const MS = 1_000_000;

/**
 * Resets of a whole bus, and of a link by containment. No kernel tells the IOMMU about any of them: what is below loses
 * ATS Enable and its ATC while the tables still permit ATS.
 *
 * Source: Linux 7.2 drivers/pci/pci.c, pcie/dpc.c.
 */
export class PciBusResets {
  readonly #onBus: (bus: number) => readonly PciDev[];

  /** @param onBus the functions that the kernel knows on a bus, in the order in which they were added */
  constructor(onBus: (bus: number) => readonly PciDev[]) {
    this.#onBus = onBus;
  }

  /**
   * Resets everything on the bus of a function: by its hot-plug slot where the kernel drives one, else by the bridge above.
   * State of every function below is saved and restored. VFIO's hot reset is this, after it made sure that the caller
   * owns all of them.
   *
   * Source: Linux 7.2 `pci_reset_bus()`.
   *
   * @throws KernelError ENOTTY without a bridge or with a function that does not survive it, EAGAIN when a lock is held
   */
  *resetBus(device: Device): Op<void> {
    const dev = pciDev(device);
    const bridge = dev.bridge;
    if (bridge === undefined) {
      throw new KernelError("ENOTTY", `${dev.name} is on a root bus`);
    }
    const rules = rulesOf(dev);
    const bySlot = inHotplugSlot(dev, rules);
    const members = bySlot ? this.#inSlot(dev.busNumber, rules) : this.#onBus(dev.busNumber);
    yield* this.#tryReset(bridge, members);
  }

  /**
   * sysfs `reset_subordinate` of a bridge: everything below it, saved and restored.
   *
   * Source: Linux 7.2 `pci_try_reset_bridge()`; 6.12 and 6.1 do not look at slots.
   *
   * @throws KernelError ENOTTY, EAGAIN
   */
  *resetSubordinate(device: Device): Op<void> {
    const bridge = pciDev(device);
    const rules = rulesOf(bridge);
    const all = this.#onBus(bridge.subordinateBus);
    const bySlot = rules.subordinateBySlot && bridge.hotplugSlot;
    yield* this.#tryReset(bridge, bySlot ? this.#inSlot(bridge.subordinateBus, rules) : all);
  }

  /**
   * Error recovery resets the bus below a port: nothing is saved, and nothing is restored but by the drivers.
   *
   * Source: Linux 7.2 `pci_bus_error_reset()`.
   *
   * @throws KernelError ENOTTY
   */
  *resetAfterError(device: Device): Op<void> {
    const bridge = pciDev(device);
    const members = this.#onBus(bridge.subordinateBus);
    this.#expectResettable(bridge, members);
    const locked = this.#lockOrder(bridge, members);
    for (const one of locked) {
      yield one.lock.exclusive;
    }
    yield* unlocking(locked, pciSecondaryBusReset(bridge, members[0], rulesOf(bridge)));
  }

  /**
   * The kernel ends containment: it clears the interrupt, waits until the link is down and the root port idle, clears the
   * trigger, and waits for what is below. Drivers then restore their functions in `slot_reset()`, as most do.
   *
   * Source: Linux 7.2 `dpc_irq()`, `dpc_reset_link()`.
   *
   * @param drivers whether the drivers below restore their functions
   * @throws KernelError ENOTTY when what is below does not come back
   */
  *recoverFromDpc(device: Device, drivers: boolean): Op<void> {
    const port = pciDev(device);
    const at = port.config.findExtendedCapability(EXT_CAP_ID_DPC) + DPC_STATUS;
    if (at === DPC_STATUS || (port.read16(at) & DPC_TRIGGERED) === 0) {
      return;
    }
    if ((port.read16(at) & DPC_INTERRUPT) !== 0) {
      yield preempt;
      port.write16(at, DPC_INTERRUPT, "DPC Status");
    }
    if (!(yield* pciWaitForLinkStatus(port, false))) {
      port.warn("dpc_reset_link", "the link is still active");
    }
    if (!(yield* waitUntilIdle(port, at))) {
      throw new KernelError("ENOTTY", `${port.name}: the root port is still busy`);
    }
    yield preempt;
    port.write16(at, DPC_TRIGGERED, "DPC Status");
    const below = this.#onBus(port.subordinateBus);
    yield* pciWaitForSecondaryBus(port, below[0], rulesOf(port));
    for (const dev of drivers ? below : []) {
      yield* pciRestoreState(dev);
    }
  }

  *#tryReset(bridge: PciDev, members: readonly PciDev[]): Op<void> {
    this.#expectResettable(bridge, members);
    const locked = this.#lockOrder(bridge, members);
    const held = locked.find((one) => !one.lock.free("exclusive"));
    if (held !== undefined) {
      throw new KernelError("EAGAIN", `${held.name} is locked`);
    }
    for (const one of locked) {
      yield one.lock.exclusive;
    }
    yield* unlocking(locked, this.#savedAndRestored(bridge, members));
  }

  *#savedAndRestored(bridge: PciDev, members: readonly PciDev[]): Op<void> {
    for (const dev of this.#withBelow(members)) {
      yield* pciDevSaveAndDisable(dev);
    }
    const failure = yield* failureOf(pciSecondaryBusReset(bridge, members[0], rulesOf(bridge)));
    yield* this.#restore(members);
    if (failure !== undefined) {
      throw failure;
    }
  }

  /** Bridges first: what is below one answers when it is restored and its link is up. Source: Linux 7.2 `pci_bus_restore_locked()`. */
  *#restore(members: readonly PciDev[]): Op<void> {
    for (const dev of members) {
      yield* pciRestoreState(dev);
      if (dev.headerType === 1) {
        const below = this.#onBus(dev.subordinateBus);
        yield* failureOf(pciWaitForSecondaryBus(dev, below[0], rulesOf(dev)));
        yield* this.#restore(below);
      }
    }
  }

  #inSlot(bus: number, rules: ResetRules): readonly PciDev[] {
    return this.#onBus(bus).filter((dev) => inHotplugSlot(dev, rules));
  }

  /** Top down. */
  #withBelow(members: readonly PciDev[]): PciDev[] {
    return members.flatMap((dev) =>
      dev.headerType === 1 ? [dev, ...this.#withBelow(this.#onBus(dev.subordinateBus))] : [dev],
    );
  }

  #lockOrder(bridge: PciDev, members: readonly PciDev[]): PciDev[] {
    return [bridge, ...this.#withBelow(members)];
  }

  /** Source: Linux 7.2 `pci_bus_resettable()`, `pci_slot_resettable()`. */
  #expectResettable(bridge: PciDev, members: readonly PciDev[]): void {
    const broken = this.#lockOrder(bridge, members).find((dev) => hasBrokenBusReset(dev));
    if (broken !== undefined) {
      throw new KernelError("ENOTTY", `${broken.name} does not survive a bus reset`);
    }
  }
}

function rulesOf(dev: PciDev): ResetRules {
  return resetRules(dev.platform.profile);
}

/** At most a second. Source: Linux 7.2 `dpc_wait_rp_inactive()`. */
function* waitUntilIdle(port: PciDev, status: number): Op<boolean> {
  for (let ms = 0; ms < 1000; ms += 10) {
    if ((port.read16(status) & DPC_RP_BUSY) === 0) {
      return true;
    }
    yield* sleep(10 * MS);
  }
  return false;
}
