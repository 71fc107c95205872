import type { Op } from "@iommu-lab/core";
import { preempt, sleep } from "@iommu-lab/core";
import { EXT_CAP_ID_AER, EXT_CAP_ID_DPC, EXT_CAP_ID_SRIOV } from "../config-space/extended-layouts.ts";
import type { PciDev } from "./pci-dev.ts";

/** A register that is read before a reset and written back after it. */
export interface SavedRegister {
  /** Byte offset in config space. */
  readonly at: number;
  /** Bytes. */
  readonly size: 2 | 4;
  /** What it held. */
  readonly value: number;
  /** Its name, for the trace. */
  readonly name: string;
}

/** What is kept of a function's extended capabilities. */
export interface SavedCapabilities {
  /** DPC, then AER. */
  readonly errors: readonly SavedRegister[];
  /** SR-IOV of a PF; VF Enable is in the last. */
  readonly sriov: readonly SavedRegister[];
}

type Wanted = readonly (readonly [offset: number, size: 2 | 4, name: string])[];

/** Source: Linux 7.2 `pci_save_aer_state()`. */
const AER: Wanted = [
  [8, 4, "AER Uncorrectable Mask"],
  [0xc, 4, "AER Uncorrectable Severity"],
  [0x14, 4, "AER Correctable Mask"],
  [0x18, 4, "AER Control"],
];
/** Source: Linux 7.2 `pci_save_dpc_state()`. */
const DPC: Wanted = [[6, 2, "DPC Control"]];
const SRIOV_CONTROL = 8;
const VF_ENABLE = 1;
/** What the kernel keeps in `struct pci_sriov`; VF Enable comes last. Source: Linux 7.2 `sriov_restore_state()`. */
const SRIOV: Wanted = [
  [0x20, 4, "SR-IOV System Page Size"],
  [0x10, 2, "SR-IOV NumVFs"],
  [SRIOV_CONTROL, 2, "SR-IOV Control"],
];
const VF_SETTLE_NS = 100_000_000;

function read(dev: PciDev, id: number, wanted: Wanted): SavedRegister[] {
  const capability = dev.config.findExtendedCapability(id);
  return capability === 0
    ? []
    : wanted.map(([offset, size, name]) => {
        const at = capability + offset;
        return { at, size, name, value: size === 2 ? dev.read16(at) : dev.read32(at) };
      });
}

function* write(dev: PciDev, registers: readonly SavedRegister[]): Op<void> {
  for (const { at, size, value, name } of registers) {
    yield preempt;
    if (size === 2) {
      dev.write16(at, value, name);
    } else {
      dev.write32(at, value, name);
    }
  }
}

/** Reads what is kept of error reporting, containment and SR-IOV. */
export function saveCapabilities(dev: PciDev): SavedCapabilities {
  return {
    errors: [...read(dev, EXT_CAP_ID_DPC, DPC), ...read(dev, EXT_CAP_ID_AER, AER)],
    sriov: dev.isVirtfn ? [] : read(dev, EXT_CAP_ID_SRIOV, SRIOV),
  };
}

/** Writes back DPC, then AER, before the header. */
export function restoreErrorReporting(dev: PciDev): Op<void> {
  return write(dev, dev.savedCapabilities.errors);
}

/**
 * Enables VFs again, with the old count, unless they are enabled; the kernel then gives them 100 ms.
 *
 * Source: Linux 7.2 `pci_restore_iov_state()`.
 */
export function* restoreIov(dev: PciDev): Op<void> {
  const { sriov } = dev.savedCapabilities;
  const control = sriov.at(-1);
  if (control === undefined || (dev.read16(control.at) & VF_ENABLE) !== 0) {
    return;
  }
  yield* write(dev, sriov);
  if ((control.value & VF_ENABLE) !== 0) {
    yield* sleep(VF_SETTLE_NS);
  }
}
