import type { PciProfile } from "./pci-profile.ts";
import { pciProfile } from "./pci-profile.ts";
import type { PciDev } from "./pci-dev.ts";

/** What only the platform's firmware or registers outside config space tell, and rules of the kernel need. */
export interface PciFacts {
  /**
   * An ACPI table IVRS exists: the IOMMU is AMD's. Then some south bridge functions count as isolated. Default: false.
   */
  readonly ivrs?: boolean;
  /**
   * Whether the peer decodes of an older Intel PCH could be switched off through its LPC bridge. Default: what bit 0 of
   * RCBA (00:1f.0, offset f0h) says.
   */
  readonly pchPeerDecodeOff?: boolean;
  /**
   * Firmware leaves hot-plug to the kernel (`_OSC`): pciehp drives the slot of each hot-plug capable port, so that it can be
   * reset. Default: true.
   */
  readonly nativeHotplug?: boolean;
  /** What evaluating `_RST` of a function does and whether it works, by the function's name. Default: none has it. */
  readonly acpiResets?: ReadonlyMap<string, () => boolean>;
  /** Devfns of the proxy IDs that a Switchtec non-transparent bridge has in its registers, by the bridge's name. */
  readonly switchtecProxies?: ReadonlyMap<string, readonly number[]>;
}

/** An assumption about one function, for what-if questions. */
export type AssumedAcs = "on" | "off";

/** All that functions of one machine share in the kernel's eyes. */
export interface PciPlatform {
  /** How this kernel version does things. */
  readonly profile: PciProfile;
  /** What firmware says. */
  readonly facts: PciFacts;
  /** The value of `pci=` on the command line. */
  readonly parameter: string;
  /** Whether an IOMMU driver has asked for ACS (`pci_request_acs()`). */
  acsRequested(): boolean;
  /** Whether the quirks that tell which functions are isolated are in force. False only for a what-if question. */
  readonly acsQuirks: boolean;
  /** Functions, by name, of which it is assumed that ACS isolates them, or that it does not. Empty but for what-if. */
  readonly assumedAcs: ReadonlyMap<string, AssumedAcs>;
  /** The function at an address of a function's own segment, by requester ID. */
  neighbour(dev: PciDev, rid: number): PciDev | undefined;
}

/** Options of {@link pciPlatform}; what is absent is as on an ordinary machine. */
export type PciPlatformOptions = Partial<PciPlatform>;

/** A platform with what is ordinary filled in: Linux 7.2, ACS asked for, no facts, no assumptions. */
export function pciPlatform(options: PciPlatformOptions = {}): PciPlatform {
  return {
    profile: options.profile ?? pciProfile("7.2"),
    facts: options.facts ?? {},
    parameter: options.parameter ?? "",
    acsRequested: options.acsRequested ?? (() => true),
    acsQuirks: options.acsQuirks ?? true,
    assumedAcs: options.assumedAcs ?? new Map(),
    neighbour: options.neighbour ?? (() => undefined),
  };
}
