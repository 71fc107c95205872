import type { Digest } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";
import { AcsControl, SOURCE_VALIDATION, TRANSLATION_BLOCKING } from "./acs-control.ts";
import { windowsHold } from "./address-window.ts";
import { RESET_EFFECTS, type ResetKind } from "../reset/reset-kind.ts";
import { AER_ERROR, ErrorLog } from "./error-log.ts";
import type { PciFunction } from "./pci-function.ts";
import { AT_MASK, AT_UNTRANSLATED, type Rid } from "./request.ts";
import type { TlpHeader } from "./tlp-header.ts";

const SECONDARY_BUS = 0x19;
const SUBORDINATE_BUS = 0x1a;
const SECONDARY_STATUS = 0x1e;
const SIGNALED_TARGET_ABORT = 0x800;
/** Link Capabilities bits 31:24. */
const PORT_NUMBER = 0xf;

/** Which side of what a port is. */
export type PortKind = "root" | "upstream" | "downstream" | "bridge";

/**
 * What becomes of the requester ID of DMA that passes a bridge to conventional PCI: nothing; (secondary bus, 0.0), as behind
 * a PCIe-to-PCI bridge; or the bridge's own, where the upper side is conventional.
 *
 * Source: PCI Express to PCI/PCI-X Bridge Specification 1.0 §2.3, as Linux 7.2 `pci_for_each_dma_alias()` reads it.
 */
export type RequesterIdRule = "as-is" | "secondary-bus" | "own";

/** What a port is made of. */
export interface PortInit {
  /** Requester ID, which is also its config address. */
  readonly rid: Rid;
  /** Such as `0000:00:01.0`. */
  readonly name: string;
  /** Its registers. */
  readonly config: ConfigSpace;
  /** Which side of what it is. */
  readonly kind: PortKind;
  /** The port above it; undefined for a root port. */
  readonly upstream: Port | undefined;
  /** Firmware marks it as leading out of the box. */
  readonly externalFacing: boolean;
  /** What becomes of requester IDs from below. Default `as-is`. */
  readonly requesterIds?: RequesterIdRule;
}

/** A root port, a port of a switch, or a bridge to conventional PCI, as requests pass it. */
export class Port implements PciFunction {
  readonly rid: Rid;
  readonly name: string;
  readonly config: ConfigSpace;
  /** Which side of what it is. */
  readonly kind: PortKind;
  /** The port above it; undefined for a root port. */
  readonly upstream: Port | undefined;
  /** Firmware marks it as leading out of the box. */
  readonly externalFacing: boolean;
  /** Its ACS registers; an upstream port has no say in what comes from below. */
  readonly acs: AcsControl;
  /** Where it notes errors. */
  readonly errors: ErrorLog;
  readonly #pcie: number;
  readonly #requesterIds: RequesterIdRule;
  #resetting = false;

  constructor(init: PortInit) {
    this.rid = init.rid;
    this.name = init.name;
    this.config = init.config;
    this.kind = init.kind;
    this.upstream = init.upstream;
    this.externalFacing = init.externalFacing;
    this.#requesterIds = init.requesterIds ?? "as-is";
    this.acs = new AcsControl(init.config);
    this.errors = new ErrorLog(init.config);
    this.#pcie = init.config.findCapability(CAP_ID_EXP);
  }

  /** Port Number of Link Capabilities: its bit in the egress vectors of other ports. */
  get portNumber(): number {
    return this.#pcie === 0 ? 0 : this.config.read8(this.#pcie + PORT_NUMBER);
  }

  /**
   * What stops a memory request from below: the name of the ACS check, or `""`. Source Validation compares the bus number
   * with those the port leads to; Translation Blocking takes every Address Type but 00.
   *
   * Source: PCIe 6.0 §6.12.1.1, roles of the bits as Linux and lspci know them; exact wording unconfirmed.
   */
  blocks(rid: Rid, flags: number): string {
    if (this.kind === "upstream" || this.kind === "bridge") {
      return "";
    }
    const { control } = this.acs;
    if ((control & SOURCE_VALIDATION) !== 0) {
      const bus = rid >>> 8;
      if (bus < this.config.read8(SECONDARY_BUS) || bus > this.config.read8(SUBORDINATE_BUS)) {
        return "ACS Source Validation";
      }
    }
    if ((control & TRANSLATION_BLOCKING) !== 0 && (flags & AT_MASK) !== AT_UNTRANSLATED) {
      return "ACS Translation Blocking";
    }
    return "";
  }

  /** Whether its memory windows hold this page, so that a request for it belongs below. */
  leadsTo(page: number): boolean {
    return windowsHold(this.config, page);
  }

  /**
   * Notes an ACS violation. A non-posted request gets CA, which the port itself signals.
   *
   * Source: PCIe 6.0 §6.12.4; exact wording unconfirmed.
   */
  noteViolation(header: TlpHeader, prefix: number, posted: boolean): void {
    if (!posted) {
      this.config.poke16(SECONDARY_STATUS, this.config.read16(SECONDARY_STATUS) | SIGNALED_TARGET_ABORT);
    }
    this.errors.note(AER_ERROR.acsViolation, header, prefix);
  }

  /** Whether a reset above holds it: it does not answer. */
  get resetting(): boolean {
    return this.#resetting;
  }

  /** A reset above reaches it: its registers are lost, and it does not answer until {@link Port.resetEnd}. */
  resetBegin(kind: ResetKind): void {
    this.#resetting = true;
    this.config.reset(RESET_EFFECTS[kind].registers);
  }

  /** The reset above is over. */
  resetEnd(): void {
    this.#resetting = false;
  }

  /** The requester ID under which a request from below goes on. */
  passedOn(rid: Rid): Rid {
    switch (this.#requesterIds) {
      case "secondary-bus":
        return this.config.read8(SECONDARY_BUS) << 8;
      case "own":
        return this.rid;
      default:
        return rid;
    }
  }

  present(): boolean {
    return true;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    if (this.#resetting) {
      return size === 4 ? 0xffffffff : 2 ** (8 * size) - 1;
    }
    if (size === 1) {
      return this.config.read8(offset);
    }
    return size === 2 ? this.config.read16(offset) : this.config.read32(offset);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    if (!this.#resetting) {
      this.config.write(offset, size, value);
    }
  }

  /** Writes its registers, and whether it is in reset. */
  digest(into: Digest): void {
    this.config.digest(into);
    into.number(this.#resetting ? 1 : 0);
  }
}
