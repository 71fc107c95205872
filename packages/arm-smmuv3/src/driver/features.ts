import { KernelError } from "@iommu-lab/core";
import type { Identification } from "../layout/id-registers.ts";
import { HTTU, STALL_MODEL, TT_ENDIAN, decodeIdRegisters } from "../layout/id-registers.ts";
import { REG } from "../layout/registers.ts";

/** What firmware and the CPUs add to the ID registers. */
export interface SmmuFirmware {
  /** Whether table walks and queues are coherent; undefined = as IDR0.COHACC says. */
  readonly coherent?: boolean | undefined;
  /** The kernel runs at EL2 (VHE), so it uses the EL2-E2H regime where the SMMU has EL2. */
  readonly vhe: boolean;
  /** HTTU in the encoding of IDR0, where firmware overrides the register (ACPI); undefined = as IDR0 says. */
  readonly httu?: number | undefined;
}

/** What the driver found an SMMU to be (`struct arm_smmu_device`, as far as it is used). */
export interface SmmuFeatures {
  readonly stage1: boolean;
  readonly ats: boolean;
  readonly pri: boolean;
  readonly hyp: boolean;
  /** EL2-E2H: STRW = EL2, and TLBI_EL2 commands. */
  readonly e2h: boolean;
  readonly stalls: boolean;
  readonly stallForced: boolean;
  readonly coherent: boolean;
  /** A SYNC writes into its own queue slot when it is done (`ARM_SMMU_OPT_MSIPOLL`). */
  readonly pollsMessages: boolean;
  readonly setsAccessFlag: boolean;
  readonly setsDirty: boolean;
  readonly attributeTypesOverride: boolean;
  readonly rangeInvalidation: boolean;
  readonly twoLevelStreamTable: boolean;
  readonly twoLevelCdTable: boolean;
  /** Address spaces of processes can be shared (`ARM_SMMU_FEAT_SVA`). */
  readonly sva: boolean;
  readonly asidBits: number;
  readonly streamIdBits: number;
  readonly substreamIdBits: number;
  readonly commandQueueBits: number;
  readonly eventQueueBits: number;
  readonly pageRequestQueueBits: number;
  /** Output address bits. */
  readonly oas: number;
  /** log2 of the smallest granule: what becomes the STU. */
  readonly pageShift: number;
}

/** `STRTAB_SPLIT`: StreamID bits of a level-2 table. */
export const STRTAB_SPLIT = 8;
/** Largest allocation of a queue: 2^22 bytes (`Q_MAX_SZ_SHIFT`). */
const QUEUE_MAX_SHIFT = 22;
const COMMAND_SHIFT = 4;
const EVENT_SHIFT = 5;
const PAGE_REQUEST_SHIFT = 4;
/** log2 of `CMDQ_BATCH_ENTRIES`. */
const BATCH_BITS = 6;

function check(id: Identification): void {
  if (id.ttEndian !== TT_ENDIAN.mixed && id.ttEndian !== TT_ENDIAN.little) {
    throw new KernelError("ENXIO", "unsupported endianness of translation tables");
  }
  if (!id.stage1 && !id.stage2) {
    throw new KernelError("ENXIO", "no translation support");
  }
  if (!id.aarch64) {
    throw new KernelError("ENXIO", "AArch64 table format not supported");
  }
  if (id.embedded) {
    throw new KernelError("ENXIO", "embedded implementation not supported");
  }
  if (id.commandQueueBits <= BATCH_BITS) {
    throw new KernelError("ENXIO", "command queue too small");
  }
}

function smallestGranule(id: Identification): number {
  if (id.granule4K) {
    return 12;
  }
  return id.granule16K ? 14 : 16;
}

/**
 * Reads the ID registers.
 *
 * Source: Linux 7.2 `arm_smmu_device_hw_probe()`, `arm_smmu_get_httu()`, `arm_smmu_sva_supported()`. The CPUs are taken to have 4 KiB pages,
 * 48-bit virtual addresses, 16-bit ASIDs, and no larger physical addresses than the SMMU.
 *
 * @param read reads a register
 * @throws KernelError ENXIO for an SMMU that the driver refuses
 */
export function probeFeatures(read: (offset: number) => number, firmware: SmmuFirmware): SmmuFeatures {
  const id = decodeIdRegisters({
    idr0: read(REG.idr0),
    idr1: read(REG.idr1),
    idr3: read(REG.idr3),
    idr5: read(REG.idr5),
  });
  check(id);
  const coherent = firmware.coherent ?? id.coherent;
  const httu = firmware.httu ?? id.httu;
  return {
    stage1: id.stage1,
    ats: id.ats,
    pri: id.pri,
    hyp: id.hyp,
    e2h: id.hyp && firmware.vhe,
    stalls: id.stallModel !== STALL_MODEL.terminate,
    stallForced: id.stallModel === STALL_MODEL.stallForced,
    coherent,
    pollsMessages: id.msi && coherent,
    setsAccessFlag: httu >= HTTU.accessFlag,
    setsDirty: httu >= HTTU.accessFlagAndDirty,
    attributeTypesOverride: id.attributeTypesOverride,
    rangeInvalidation: id.rangeInvalidation,
    twoLevelStreamTable: id.twoLevelStreamTable && id.streamIdBits > STRTAB_SPLIT,
    twoLevelCdTable: id.twoLevelCd,
    sva: coherent && id.granule4K && id.asidBits === 16,
    asidBits: id.asidBits,
    streamIdBits: id.streamIdBits,
    substreamIdBits: id.substreamIdBits,
    commandQueueBits: Math.min(QUEUE_MAX_SHIFT - COMMAND_SHIFT, id.commandQueueBits),
    eventQueueBits: Math.min(QUEUE_MAX_SHIFT - EVENT_SHIFT, id.eventQueueBits),
    pageRequestQueueBits: Math.min(QUEUE_MAX_SHIFT - PAGE_REQUEST_SHIFT, id.pageRequestQueueBits),
    oas: Math.min(id.oas, 52),
    pageShift: smallestGranule(id),
  };
}
