import { type DeviceMatch, matchesDevice } from "../config-space/device-match.ts";
import type { PciDev } from "./pci-dev.ts";
import type { ResetRules } from "./reset-rules.ts";

const AMD = 0x1022;
const ATI = 0x1002;
const INTEL = 0x8086;
const SOLIDRUN = 0xd063;
const DISPLAY_VGA = 0x0300;

/** Source: Linux `quirk_no_flr()`. */
const NO_FLR: Readonly<Record<ResetRules["flrQuirks"], readonly DeviceMatch[]>> = {
  "6.1": noFlr([]),
  "6.12": noFlr([{ vendor: AMD, devices: [0x1502, 0x17f0] }]),
  "7.2": noFlr([
    { vendor: AMD, devices: [0x1502, 0x17f0] },
    { vendor: 0x14c3, devices: [0x0616, 0x7925] },
  ]),
};

function noFlr(more: readonly DeviceMatch[]): readonly DeviceMatch[] {
  return [
    { vendor: AMD, devices: [0x1487, 0x148c, 0x149c, 0x7901] },
    { vendor: INTEL, devices: [0x1502, 0x1503] },
    ...more,
  ];
}

/** Source: Linux `quirk_no_pm_reset()`. */
const NO_PM_RESET: readonly DeviceMatch[] = [{ vendor: 0x15b3, devices: [0xcb84, 0xcf6c, 0xcf70, 0xcf80] }];

/** Source: Linux `quirk_no_bus_reset()`, `quirk_nvidia_no_bus_reset()`. */
const NO_BUS_RESET: readonly DeviceMatch[] = [
  { vendor: 0x10de, devices: [0x22ce, 0x22d0, [0x2340, 0x237f]] },
  { vendor: 0x168c, devices: [0x0030, 0x0032, 0x0033, 0x0034, 0x003c, 0x003e] },
  { vendor: 0x17cb, devices: [0x0308, 0x1103, 0x1107] },
  { vendor: 0x177d, devices: [0xa100] },
  { vendor: 0x104c, devices: [0xb005] },
  { vendor: 0x1b21, devices: [0x1164] },
];

/** `PCI_DEV_FLAGS_NO_FLR_RESET`: FLR is advertised but breaks the device. */
export function hasBrokenFlr(dev: PciDev, rules: ResetRules): boolean {
  const isSnet = dev.vendor === SOLIDRUN && dev.device === 0x1000 && dev.read8(8) === 1;
  return isSnet || matchesDevice(NO_FLR[rules.flrQuirks], dev.vendor, dev.device);
}

/** `PCI_DEV_FLAGS_NO_PM_RESET`: D3hot and back does not reset it, whatever No_Soft_Reset says. */
export function hasBrokenPmReset(dev: PciDev): boolean {
  // A class fixup: also for display functions of other interfaces than 0.
  const isAtiDisplay = dev.vendor === ATI && dev.class >>> 8 === DISPLAY_VGA;
  return isAtiDisplay || matchesDevice(NO_PM_RESET, dev.vendor, dev.device);
}

/** `PCI_DEV_FLAGS_NO_BUS_RESET`: it does not come back from a secondary bus reset. */
export function hasBrokenBusReset(dev: PciDev): boolean {
  return matchesDevice(NO_BUS_RESET, dev.vendor, dev.device);
}
