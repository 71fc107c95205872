import type { PciProfile } from "./pci-profile.ts";

/** The kernel's reset methods, by their names in sysfs `reset_method`. */
export type ResetMethodName = "device_specific" | "acpi" | "flr" | "af_flr" | "pm" | "bus" | "cxl_bus";

/** What kernel versions do differently when they reset a function. */
export interface ResetRules {
  /** The methods in the order in which they are looked for. */
  readonly methods: readonly ResetMethodName[];
  /** The IOMMU is told, also around PROBE of `bus` and `device_specific`. */
  readonly staged: boolean;
  /** `pci_reset_function()` takes the lock of the bridge above first. */
  readonly locksBridge: boolean;
  /** What `bus` says below a CXL port that masks Secondary Bus Reset: nothing, or ENOTTY to a reset alone, or to PROBE as well. */
  readonly maskedReset: "unknown" | "fails" | "not-offered";
  /** A hot-plug slot covers every function of its bus, not just device 0. */
  readonly slotCoversBus: boolean;
  /** `pci_restore_state()` does nothing unless state was saved. */
  readonly restoreNeedsSave: boolean;
  /** A function that comes back is asked for its Vendor ID where Request Retry Status is visible. */
  readonly seesRetryStatus: boolean;
  /** sysfs `reset_subordinate` resets by the slots of the bus where all have one. */
  readonly subordinateBySlot: boolean;
  /** What is known to break by FLR: AMD 1502 and 17f0 (6.12), MediaTek (7.2). */
  readonly flrQuirks: "6.1" | "6.12" | "7.2";
}

const BEFORE_CXL: readonly ResetMethodName[] = ["device_specific", "acpi", "flr", "af_flr", "pm", "bus"];

const RULES: Readonly<Record<string, ResetRules>> = {
  "linux-6.1": {
    methods: BEFORE_CXL,
    staged: false,
    locksBridge: false,
    maskedReset: "unknown",
    slotCoversBus: false,
    restoreNeedsSave: true,
    seesRetryStatus: false,
    subordinateBySlot: false,
    flrQuirks: "6.1",
  },
  "linux-6.12": {
    methods: [...BEFORE_CXL, "cxl_bus"],
    staged: false,
    locksBridge: true,
    maskedReset: "fails",
    slotCoversBus: false,
    restoreNeedsSave: false,
    seesRetryStatus: true,
    subordinateBySlot: false,
    flrQuirks: "6.12",
  },
  "linux-7.2": {
    methods: [...BEFORE_CXL, "cxl_bus"],
    staged: true,
    locksBridge: true,
    maskedReset: "not-offered",
    slotCoversBus: true,
    restoreNeedsSave: false,
    seesRetryStatus: true,
    subordinateBySlot: true,
    flrQuirks: "7.2",
  },
};

/**
 * How a kernel resets functions.
 *
 * Source: drivers/pci/pci.c, pci-sysfs.c, quirks.c and hotplug/pciehp_hpc.c of Linux 6.1, 6.12 and 7.2.
 */
export function resetRules(profile: PciProfile): ResetRules {
  const rules = RULES[profile.id];
  if (rules === undefined) {
    throw new Error(`no reset rules for ${profile.id}`);
  }
  return rules;
}
