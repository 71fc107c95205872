import type { Op } from "@iommu-lab/core";
import { KernelError, KernelOops, hex64 } from "@iommu-lab/core";
import {
  invalidateDevtabEntry,
  invalidateInterruptTable,
  invalidateIommuAll,
  invalidateIommuPages,
} from "../layout/command.ts";
import type { Features } from "../layout/features.ts";
import { decodeFeatures } from "../layout/features.ts";
import { ALL_PAGES } from "../layout/page-range.ts";
import type { ControlBit } from "../layout/registers.ts";
import {
  CAP_EFR_SUP,
  CAP_IOTLB_SUP,
  CAP_NP_CACHE,
  COMMAND_BASE,
  COMMAND_HEAD,
  COMMAND_TAIL,
  CONTROL,
  CONTROL_BIT,
  DEVICE_TABLE_BASE,
  EVENT_BASE,
  EVENT_HEAD,
  EVENT_TAIL,
  EXTENDED_FEATURE,
  EXTENDED_FEATURE_2,
  GA_LOG_BASE,
  GA_LOG_HEAD,
  GA_LOG_TAIL,
  GA_LOG_TAIL_ADDRESS,
  INV_TIMEOUT_1S,
  PPR_BASE,
  PPR_HEAD,
  PPR_TAIL,
  encodeBufferBase,
  encodeDeviceTableBase,
} from "../layout/registers.ts";
import type { AmdIommuDriver } from "./driver.ts";
import type { DriverState } from "./state.ts";
import type { AmdUnit } from "./unit.ts";
import { COMMAND_BUFFER_BYTES, COMMAND_BUFFER_LENGTH } from "./unit.ts";

const PAGE = 4096;
/** Bytes of the event log and of the PPR log: 512 entries. */
const LOG_BYTES = 8192;
const LOG_LENGTH = 9;
/** 512 entries of 8 bytes; Len 8 of this log. */
const GA_LOG_LENGTH = 8;
/** Largest PASID width the driver takes. */
const MAX_PASIDS = 0xffff;

const DISABLED: readonly ControlBit[] = [
  CONTROL_BIT.CmdBufEn,
  CONTROL_BIT.EventIntEn,
  CONTROL_BIT.EventLogEn,
  CONTROL_BIT.GALogEn,
  CONTROL_BIT.GAIntEn,
  CONTROL_BIT.PPRLogEn,
  CONTROL_BIT.PPRIntEn,
  CONTROL_BIT.IommuEn,
  CONTROL_BIT.IRTCacheDis,
];

/**
 * Brings all units up in the kernel's order: off, tables, on, event log, devices probed, every unused entry blocked, PPR
 * log. Until the entries are blocked, devices that were not probed pass untranslated.
 *
 * Source: Linux 7.2 `early_amd_iommu_init()`, `early_enable_iommus()`, `amd_iommu_init_pci()`, `amd_iommu_enable_interrupts()`.
 *
 * @param makeDriver called when the static IDENTITY domain takes its domain ID
 * @throws KernelOops for PASIDs of more than 16 bits
 */
export function* initUnits(state: DriverState, makeDriver: () => AmdIommuDriver): Op<void> {
  const { units } = state;
  for (const unit of units) {
    allocateBuffers(state, unit);
    if ((unit.read32(CONTROL) & 1) !== 0) {
      yield* disable(unit);
      unit.warn("init_iommu_one_late", "translation was enabled, but this is no kdump kernel");
    }
  }
  yield* readFirmwareFeatures(state);
  for (const unit of units) {
    yield* disable(unit);
  }
  yield* state.deviceTable.applySettings();
  if (state.commandLine.interruptRemapping) {
    yield* state.deviceTable.setInAll(2, 1, "all entries: IV, interrupts aborted");
  }
  for (const unit of units) {
    yield* earlyEnable(state, unit);
  }
  for (const unit of units) {
    yield* enableEventLog(state, unit);
  }
  const driver = makeDriver();
  for (const unit of units) {
    yield* initPci(state, unit);
  }
  yield* register(state, driver);
  if (state.pageTable !== "none") {
    yield* state.deviceTable.setInAll(0, 3, "all entries: V, TV besides what they have; those unused block DMA");
  }
  for (const unit of units) {
    yield* flushAllCaches("boot-late", state, unit);
  }
  for (const unit of units) {
    yield* enableInterrupts(state, unit);
  }
}

function allocateBuffers(state: DriverState, unit: AmdUnit): void {
  const { memory } = state.ports;
  unit.semaphore = memory.allocate(PAGE, PAGE, "amd-iommu", `${unit.name} completion store`);
  unit.commandBuffer = memory.allocate(COMMAND_BUFFER_BYTES, PAGE, "amd-iommu", `${unit.name} command buffer`);
}

/** What the IVHDs tell; where they have no EFR, the registers are read later. Source: Linux 7.2 `get_global_efr()`. */
function* readFirmwareFeatures(state: DriverState): Op<void> {
  const [first, ...others] = state.units.map(({ description }) => description.efr);
  if (first !== undefined) {
    const efr = others.reduce((common, one) => common & (one?.efr ?? 0n), first.efr);
    const efr2 = others.reduce((common, one) => common & (one?.efr2 ?? 0n), first.efr2);
    takeFeatures(state, decodeFeatures(efr, efr2));
  } else {
    yield* readRegisterFeatures(state);
  }
  state.strict = state.commandLine.fullFlush;
}

function takeFeatures(state: DriverState, features: Features): void {
  state.features = features;
  const noHost = features.hats === 3 || state.units.some(({ description }) => description.hostTranslationDisabled);
  if (noHost) {
    state.pageTable = state.v2Supported ? "v2" : "none";
  } else if (state.pageTable === "v2" && !state.v2Supported) {
    state.warn("early_amd_iommu_init", "cannot enable v2 page tables for the DMA API: v1");
    state.pageTable = "v1";
  }
}

function read64(unit: AmdUnit, offset: number): bigint {
  return (BigInt(unit.read32(offset + 4)) << 32n) | BigInt(unit.read32(offset));
}

// oxlint-disable-next-line require-yield
function* readRegisterFeatures(state: DriverState): Op<void> {
  const [unit] = state.units;
  if (unit !== undefined && (unit.description.capability & CAP_EFR_SUP) !== 0) {
    takeFeatures(state, decodeFeatures(read64(unit, EXTENDED_FEATURE), read64(unit, EXTENDED_FEATURE_2)));
  }
}

/** Source: Linux 7.2 `iommu_disable()`. */
function* disable(unit: AmdUnit): Op<void> {
  for (const bit of DISABLED) {
    yield* unit.enable(bit, false);
  }
}

/** Source: Linux 7.2 `iommu_init_flags()`. */
function* initFlags(state: DriverState, unit: AmdUnit): Op<void> {
  const { flags } = unit.description;
  yield* unit.enable(CONTROL_BIT.HtTunEn, (flags & 1) !== 0);
  yield* unit.enable(CONTROL_BIT.PassPW, (flags & 2) !== 0);
  yield* unit.enable(CONTROL_BIT.ResPassPW, (flags & 4) !== 0);
  yield* unit.enable(CONTROL_BIT.Isoc, (flags & 8) !== 0);
  yield* unit.enable(CONTROL_BIT.Coherent);
  yield* unit.setFeature(CONTROL_BIT.InvTimeOut, INV_TIMEOUT_1S, 3);
  if (state.features.eph) {
    yield* unit.enable(CONTROL_BIT.EPHEn);
  }
}

/** Source: Linux 7.2 `early_enable_iommu()`. */
function* earlyEnable(state: DriverState, unit: AmdUnit): Op<void> {
  const { features, deviceTable } = state;
  yield* disable(unit);
  yield* initFlags(state, unit);
  yield* unit.write64(DEVICE_TABLE_BASE, ...encodeDeviceTableBase(deviceTable.address, deviceTable.bytes));
  yield* enableCommandBuffer(unit);
  yield* enableGuestTranslation(state, unit);
  if (features.ga) {
    yield* unit.enable(CONTROL_BIT.GAEn);
    if (features.xt) {
      yield* unit.enable(CONTROL_BIT.XTEn);
    }
  }
  if (features.interruptTables === 1) {
    yield* unit.setFeature(CONTROL_BIT.NumIntRemapMode, 1, 2);
  }
  yield* unit.enable(CONTROL_BIT.IommuEn);
  yield* flushAllCaches("boot-early", state, unit);
}

/** Source: Linux 7.2 `iommu_enable_command_buffer()`, `amd_iommu_reset_cmd_buffer()`. */
function* enableCommandBuffer(unit: AmdUnit): Op<void> {
  yield* unit.write64(COMMAND_BASE, ...encodeBufferBase(unit.commandBuffer, COMMAND_BUFFER_LENGTH));
  yield* unit.enable(CONTROL_BIT.CmdBufEn, false);
  yield* unit.write32(COMMAND_HEAD, 0);
  yield* unit.write32(COMMAND_TAIL, 0);
  unit.resetCommandBuffer();
  yield* unit.enable(CONTROL_BIT.CmdBufEn);
}

/** Source: Linux 7.2 `iommu_enable_gt()`. */
function* enableGuestTranslation(state: DriverState, unit: AmdUnit): Op<void> {
  if (!state.features.gt) {
    return;
  }
  yield* unit.enable(CONTROL_BIT.GTEn);
  if (state.features.gcr3TrpMode) {
    yield* unit.enable(CONTROL_BIT.GCR3TRPMode);
  }
}

/** Source: Linux 7.2 `amd_iommu_flush_all_caches()`. */
function* flushAllCaches(when: "boot-early" | "boot-late", state: DriverState, unit: AmdUnit): Op<void> {
  if (state.features.invalidateAll) {
    yield* unit.queue(`${when}:all`, invalidateIommuAll());
    yield* unit.completionWait();
    return;
  }
  const last = state.deviceTable.entries;
  for (let rid = 0; rid < last; rid += 1) {
    yield* unit.queue(`${when}:devtab`, invalidateDevtabEntry(rid));
  }
  yield* unit.completionWait();
  for (let rid = 0; rid < last; rid += 1) {
    yield* unit.queue(`${when}:interrupts`, invalidateInterruptTable(rid));
  }
  yield* unit.completionWait();
  for (let domainId = 0; domainId < last; domainId += 1) {
    yield* unit.queue(`${when}:pages`, invalidateIommuPages({ domainId }, 0, ALL_PAGES, true));
  }
  yield* unit.completionWait();
}

/** Source: Linux 7.2 `iommu_enable_event_buffer()`. */
function* enableEventLog(state: DriverState, unit: AmdUnit): Op<void> {
  const log = state.ports.memory.allocate(LOG_BYTES, PAGE, "amd-iommu", `${unit.name} event log`);
  yield* unit.write64(EVENT_BASE, ...encodeBufferBase(log, LOG_LENGTH));
  yield* unit.write32(EVENT_HEAD, 0);
  yield* unit.write32(EVENT_TAIL, 0);
  yield* unit.enable(CONTROL_BIT.EventLogEn);
}

/** Source: Linux 7.2 `iommu_init_pci()`, `late_iommu_features_init()`. */
function* initPci(state: DriverState, unit: AmdUnit): Op<void> {
  const { capability, efr } = unit.description;
  const { features, ports } = state;
  state.iotlbSup &&= (capability & CAP_IOTLB_SUP) !== 0;
  if ((capability & CAP_EFR_SUP) !== 0 && efr !== undefined) {
    warnMismatch(unit, efr.efr, efr.efr2);
  }
  if (features.gt) {
    unit.maxPasids = 2 ** (features.pasMax + 1) - 1;
    if (unit.maxPasids > MAX_PASIDS) {
      throw new KernelOops(
        `BUG in iommu_init_pci(): PASMax ${features.pasMax} is more than 16 bits (derived, not executed)`,
      );
    }
    state.maxGlx = state.maxGlx < 0 ? features.glx : Math.min(state.maxGlx, features.glx);
    yield* enableGuestTranslation(state, unit);
  }
  if (features.ppr) {
    unit.pprLog = ports.memory.allocate(LOG_BYTES, PAGE, "amd-iommu", `${unit.name} PPR log`);
  }
  if ((capability & CAP_NP_CACHE) !== 0) {
    state.strict = true;
    state.npCache = true;
  }
  unit.faultQueue = state.gtPprSupported;
}

function warnMismatch(unit: AmdUnit, efr: bigint, efr2: bigint): void {
  const registers = [read64(unit, EXTENDED_FEATURE), read64(unit, EXTENDED_FEATURE_2)];
  if (registers[0] !== efr || registers[1] !== efr2) {
    const [lo, hi] = [unit.read32(EXTENDED_FEATURE), unit.read32(EXTENDED_FEATURE + 4)];
    unit.warn("late_iommu_features_init", `EFR mismatch: register ${hex64(lo, hi)}, the IVHD's counts`);
  }
}

/** A probe error takes the unit's translation away; the rest of the initialisation goes on. */
function* register(state: DriverState, driver: AmdIommuDriver): Op<void> {
  try {
    yield* state.core.registerDriver(driver);
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
    state.warn("iommu_init_pci", `iommu_device_register: ${error.message}`);
  }
}

/** Source: Linux 7.2 `iommu_init_irq()`, `enable_iommus_vapic()`, `amd_iommu_enable_ppr_log()`. */
function* enableInterrupts(state: DriverState, unit: AmdUnit): Op<void> {
  const { features } = state;
  if (features.ga && features.xt) {
    yield* unit.enable(CONTROL_BIT.IntCapXTEn);
  }
  yield* unit.enable(CONTROL_BIT.EventIntEn);
  if (features.ga && (features.gam & 1) !== 0) {
    yield* enableGaLog(state, unit);
  }
  if (!state.gtPprSupported || unit.pprLog === 0) {
    return;
  }
  yield* unit.enable(CONTROL_BIT.PPREn);
  yield* unit.write64(PPR_BASE, ...encodeBufferBase(unit.pprLog, LOG_LENGTH));
  yield* unit.write32(PPR_HEAD, 0);
  yield* unit.write32(PPR_TAIL, 0);
  yield* unit.enable(CONTROL_BIT.PPRIntEn);
  yield* unit.enable(CONTROL_BIT.PPRLogEn);
}

/** Source: Linux 7.2 `iommu_init_ga_log()`, `iommu_ga_log_enable()`. */
function* enableGaLog(state: DriverState, unit: AmdUnit): Op<void> {
  const { memory } = state.ports;
  const log = memory.allocate(PAGE, PAGE, "amd-iommu", `${unit.name} GA log`);
  const tail = memory.allocate(8, PAGE, "amd-iommu", `${unit.name} GA log tail`);
  yield* unit.write64(GA_LOG_BASE, ...encodeBufferBase(log, GA_LOG_LENGTH));
  yield* unit.write64(GA_LOG_TAIL_ADDRESS, ...encodeBufferBase(tail, 0));
  yield* unit.write32(GA_LOG_HEAD, 0);
  yield* unit.write32(GA_LOG_TAIL, 0);
  yield* unit.enable(CONTROL_BIT.GAIntEn);
  yield* unit.enable(CONTROL_BIT.GALogEn);
  yield* unit.enable(CONTROL_BIT.GAMEn);
}
