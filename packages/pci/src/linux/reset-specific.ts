import type { Op } from "@iommu-lab/core";
import { KernelError, preempt, sleep } from "@iommu-lab/core";
import { type ResetContext, type ResetMethod, failureOf, notSupported, staged } from "./reset-context.ts";
import { pcieFlr, pcieResetFlr } from "./reset-flr.ts";
import { pciRestoreState, pciSaveState } from "./save-restore.ts";

const COMMAND = 4;
const BUS_MASTER = 4;
const MEMORY_SPACE = 2;
const BAR0 = 0x10;
const INTEL = 0x8086;
const CHELSIO = 0x1425;
const CLASS_NVME = 0x010802;
const MS = 1_000_000;

/** 82599 VF: FLR works although it is not advertised. Source: Linux 7.2 `reset_intel_82599_sfp_virtfn()`. */
function* flrUnasked(context: ResetContext, probe: boolean): Op<void> {
  if (!probe) {
    yield* failureOf(pcieFlr(context));
  }
}

/** Source: Linux 7.2 `delay_250ms_after_flr()`. */
function* flrAndWait(context: ResetContext, probe: boolean): Op<void> {
  if (probe) {
    yield* pcieResetFlr(context, true);
    return;
  }
  yield* failureOf(pcieResetFlr(context, false));
  yield* sleep(250 * MS);
}

/** The controller is disabled through its BAR first, which has no registers here. Source: Linux 7.2 `nvme_disable_and_flr()`. */
function* nvmeFlr(context: ResetContext, probe: boolean): Op<void> {
  const { dev } = context;
  if (dev.class !== CLASS_NVME || dev.read32(BAR0) >>> 4 === 0) {
    notSupported(context, "no NVMe controller");
  }
  yield* pcieResetFlr(context, true);
  if (!probe) {
    const command = dev.read16(COMMAND);
    yield preempt;
    dev.write16(COMMAND, command | MEMORY_SPACE, "Command");
    yield* failureOf(pcieFlr(context));
  }
}

/** Bus Master stays on through the reset, and state is saved and restored inside. Source: Linux 7.2 `reset_chelsio_generic_dev()`. */
function* chelsioFlr(context: ResetContext, probe: boolean): Op<void> {
  const { dev } = context;
  if ((dev.device & 0xf000) !== 0x4000) {
    notSupported(context, "no T4");
  }
  if (probe) {
    return;
  }
  const command = dev.read16(COMMAND);
  yield preempt;
  dev.write16(COMMAND, command | BUS_MASTER, "Command");
  pciSaveState(dev);
  yield* failureOf(pcieFlr(context));
  yield* pciRestoreState(dev);
  yield preempt;
  dev.write16(COMMAND, command, "Command");
}

/** A graphics function that is reset through its BAR, which cannot be mapped here. Source: Linux 7.2 `reset_ivb_igd()`. */
// oxlint-disable-next-line require-yield
function* graphicsPoke(context: ResetContext, probe: boolean): Op<void> {
  if (!probe) {
    throw new KernelError("ENOMEM", `${context.dev.name}: BAR 0 cannot be mapped`);
  }
}

/** A VF whose firmware resets it when told through its BAR, which cannot be mapped here. Source: Linux 7.2 `reset_hinic_vf_dev()`. */
// oxlint-disable-next-line require-yield
function* firmwareFlr(context: ResetContext, probe: boolean): Op<void> {
  if (!probe) {
    notSupported(context, "BAR 0 cannot be mapped");
  }
}

/** Source: Linux 7.2 `pci_dev_reset_methods[]`; the same in 6.1 and 6.12. */
const TABLE: readonly (readonly [vendor: number, device: number | undefined, method: ResetMethod])[] = [
  [INTEL, 0x10ed, flrUnasked],
  [INTEL, 0x0156, graphicsPoke],
  [INTEL, 0x0166, graphicsPoke],
  [0x144d, 0xa804, nvmeFlr],
  [INTEL, 0x0953, flrAndWait],
  [INTEL, 0x0a54, flrAndWait],
  [0x025e, 0xf1ac, flrAndWait],
  [CHELSIO, undefined, chelsioFlr],
  [0x19e5, 0x375e, firmwareFlr],
];

/**
 * The way in which the kernel resets this very device. In 7.2 the IOMMU is told also when this is only a PROBE.
 *
 * Source: Linux 7.2 `pci_dev_specific_reset()`.
 */
export function* pciSpecificReset(context: ResetContext, probe: boolean): Op<void> {
  const { vendor, device } = context.dev;
  const found = TABLE.find(([one, id]) => one === vendor && (id === undefined || id === device));
  if (found === undefined) {
    notSupported(context, "no way of its own");
  } else {
    yield* staged(context, () => found[2](context, probe));
  }
}
