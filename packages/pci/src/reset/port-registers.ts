import type { ConfigSpace } from "../config-space/config-space.ts";
import { CXL_DVSEC_PORT, DVSEC_VENDOR_CXL } from "../config-space/dvsec-layouts.ts";
import { EXT_CAP_ID_DPC } from "../config-space/extended-layouts.ts";
import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";

const BRIDGE_CONTROL = 0x3e;
const SECONDARY_BUS_RESET = 0x40;
const FLAGS = 2;
const SLOT_IMPLEMENTED = 1;
const LINK_CONTROL = 0x10;
const LINK_DISABLE = 0x10;
const LINK_STATUS = 0x12;
const LINK_TRAINING = 0x800;
const LINK_ACTIVE = 0x2000;
const SLOT_CAPABILITIES = 0x14;
const POWER_CONTROLLER = 2;
const SLOT_CONTROL = 0x18;
const POWER_OFF = 0x400;
const SLOT_STATUS = 0x1a;
const PRESENCE_CHANGED = 8;
const PRESENT = 0x40;
const LINK_CHANGED = 0x100;
const PORT_DVSEC_CONTROL = 0xc;
const UNMASK_SBR = 1;
const UNMASK_LINK_DISABLE = 2;
const DPC_STATUS = 8;

/** A port's registers by which software takes its link down, and in which it sees the link. */
export class PortRegisters {
  readonly #config: ConfigSpace;
  readonly #pcie: number;
  readonly #cxl: number;
  readonly #dpc: number;
  readonly #slot: boolean;
  /** A port that does not report its link active although something is below it never will. */
  readonly #reportsActive: boolean;

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#pcie = config.findCapability(CAP_ID_EXP);
    this.#cxl = config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_PORT);
    this.#dpc = config.findExtendedCapability(EXT_CAP_ID_DPC);
    this.#slot = this.#pcie !== 0 && (config.read8(this.#pcie + FLAGS + 1) & SLOT_IMPLEMENTED) !== 0;
    this.#reportsActive = this.active;
  }

  /** Data Link Layer Link Active. */
  get active(): boolean {
    return this.#pcie !== 0 && (this.#config.read16(this.#pcie + LINK_STATUS) & LINK_ACTIVE) !== 0;
  }

  /** DPC Trigger Status. */
  get dpcTriggered(): boolean {
    return this.#dpc !== 0 && (this.#config.read8(this.#dpc + DPC_STATUS) & 1) !== 0;
  }

  /** A CXL port whose Unmask SBR is 0: Secondary Bus Reset has no effect. Source: CXL 3.1 §8.1.5.2. */
  get resetMasked(): boolean {
    return this.#masked(UNMASK_SBR);
  }

  /** The same for Link Disable (unconfirmed). */
  get linkDisableMasked(): boolean {
    return this.#masked(UNMASK_LINK_DISABLE);
  }

  /** Whether a write set (1) or cleared (-1) Secondary Bus Reset. */
  secondaryBusReset(offset: number, size: number, before: number, after: number): number {
    return change(BRIDGE_CONTROL, SECONDARY_BUS_RESET, offset, size, before, after);
  }

  /** Whether a write set (1) or cleared (-1) Link Disable. */
  linkDisable(offset: number, size: number, before: number, after: number): number {
    return this.#pcie === 0 ? 0 : change(this.#pcie + LINK_CONTROL, LINK_DISABLE, offset, size, before, after);
  }

  /** Whether a write switched the slot's power off (1) or on (-1); 0 without a power controller. */
  slotPowerOff(offset: number, size: number, before: number, after: number): number {
    const hasController = this.#slot && (this.#config.read8(this.#pcie + SLOT_CAPABILITIES) & POWER_CONTROLLER) !== 0;
    return hasController ? change(this.#pcie + SLOT_CONTROL, POWER_OFF, offset, size, before, after) : 0;
  }

  /** The link came up or went down: Data Link Layer Link Active and, in a slot, its change bit. */
  setActive(active: boolean): void {
    if (this.#reportsActive && active !== this.active) {
      this.#poke(LINK_STATUS, LINK_ACTIVE, active);
      if (this.#slot) {
        this.#poke(SLOT_STATUS, LINK_CHANGED, true);
      }
    }
  }

  /** Link Training. */
  setTraining(training: boolean): void {
    if (this.#reportsActive) {
      this.#poke(LINK_STATUS, LINK_TRAINING, training);
    }
  }

  /** Presence Detect State, and its change bit. */
  setPresence(present: boolean): void {
    if (this.#slot) {
      this.#poke(SLOT_STATUS, PRESENT, present);
      this.#poke(SLOT_STATUS, PRESENCE_CHANGED, true);
    }
  }

  #masked(unmask: number): boolean {
    return this.#cxl !== 0 && (this.#config.read16(this.#cxl + PORT_DVSEC_CONTROL) & unmask) === 0;
  }

  #poke(register: number, mask: number, on: boolean): void {
    const at = this.#pcie + register;
    const value = this.#config.read16(at);
    this.#config.poke16(at, on ? value | mask : value & ~mask);
  }
}

/** Whether bits of the word at `at` rose (1) or fell (-1) in a write of `size` bytes at `offset`. */
function change(at: number, mask: number, offset: number, size: number, before: number, after: number): number {
  const bits = (value: number): number => {
    let word = 0;
    for (let index = 0; index < 2; index += 1) {
      const byte = at + index - offset;
      if (byte >= 0 && byte < size) {
        word |= ((value >>> (8 * byte)) & 0xff) << (8 * index);
      }
    }
    return word & mask;
  };
  if (bits(before) === bits(after)) {
    return 0;
  }
  return bits(after) === 0 ? -1 : 1;
}
