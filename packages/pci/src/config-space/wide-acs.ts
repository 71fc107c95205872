import { type DeviceMatch, matchesDevice } from "./device-match.ts";
import type { RegisterReader } from "./register-layout.ts";

/** Offset of the control register in an ACS capability with 32-bit registers. */
export const WIDE_ACS_CONTROL: number = 8;

/**
 * Root ports of Intel's 100 and 200 series PCH, and of the mobile platforms of their time: both ACS registers are 32 bits
 * wide, so that control stands where others have the egress vector.
 *
 * Source: Linux 7.2 `pci_quirk_intel_spt_pch_acs_match()`.
 */
export const WIDE_ACS_PORTS: readonly DeviceMatch[] = [
  {
    vendor: 0x8086,
    devices: [
      [0xa110, 0xa11f],
      [0xa167, 0xa16a],
      [0xa290, 0xa29f],
      [0xa2e7, 0xa2ee],
      [0x9d10, 0x9d1b],
    ],
  },
];

/** Whether a function with these registers is one of them. */
export function hasWideAcsRegisters(config: RegisterReader): boolean {
  return (config.read8(0x0e) & 0x7f) === 1 && matchesDevice(WIDE_ACS_PORTS, config.read16(0), config.read16(2));
}
