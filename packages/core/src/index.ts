/**
 * The Linux IOMMU core model and the deterministic simulator underneath it.
 *
 * @packageDocumentation
 */
export { AcpiReader } from "./acpi/acpi-reader.ts";
export {
  ACPI_HEADER_BYTES,
  type AcpiHeader,
  type AcpiHeaderFields,
  type AcpiTable,
  readAcpiTable,
  writeAcpiTable,
} from "./acpi/acpi-table.ts";
export { type DeviceDriver, type DeviceIommu, Device } from "./iommu/device.ts";
export { type GroupDevice, Group } from "./iommu/group.ts";
export { type LifecycleHooks } from "./iommu/hooks.ts";
export { type KernelConfig, type KernelOptions, type KernelProfile, linux } from "./iommu/profile.ts";
export { type CoreRules, kernels } from "./iommu/rules.ts";
export { strategyOf } from "./iommu/strategy.ts";
export type {
  BusDevice,
  DeviceFeature,
  Domain,
  DomainType,
  GroupHint,
  IommuDriver,
  PagingRequest,
  Pasid,
  ProcessMemory,
  ReservedRegion,
} from "./iommu/types.ts";
export { IommuCore } from "./iommu/core.ts";
export { DmaApi, type DmaApiOptions } from "./iommu/dma-api.ts";
export { Process } from "./iommu/process.ts";
export type { DecodedLayout, LayoutCodec, LayoutFields, LayoutValue } from "./layout/codec.ts";
export { type Field, type Layout, decodeFields, encodeFields, getField, setField } from "./layout/fields.ts";
export { bytesOfHex } from "./layout/hex-input.ts";
export { JsonFields, layoutFields, shown } from "./layout/json-fields.ts";
export { otherBytes, putOtherBytes } from "./layout/other-bytes.ts";
export { type WordCodecOptions, type WordFields, wordCodec } from "./layout/word-codec.ts";
export {
  type Words,
  bytesOfWords,
  fromQwords,
  getBit,
  getBits,
  hexWords,
  newWords,
  sameWords,
  setBit,
  setBits,
  wordsOfBytes,
} from "./layout/words.ts";
export {
  type PageTableFormat,
  PROT_MMIO,
  PROT_NOEXEC,
  PROT_PRIV,
  PROT_READ,
  PROT_WRITE,
  type Word64,
} from "./page-table/format.ts";
export { type Mapping, PageTable } from "./page-table/page-table.ts";
export { x86_64 } from "./page-table/x86-64.ts";
export { type Platform, type PlatformOptions, createPlatform } from "./platform.ts";
export { address52, bits32, bits64, hex, hex64, high32, join64, low32 } from "./sim/bits.ts";
export { type Choice, type Chooser, inOrder, schedule } from "./sim/chooser.ts";
export { Clock } from "./sim/clock.ts";
export { PlatformHost, type Service, type Token, type Tokens, injects, token } from "./sim/container.ts";
export { Digest, type Digestible } from "./sim/digest.ts";
export type { Engine } from "./sim/engine.ts";
export { type Errno, InputError, type InputPosition, KernelError, KernelOops } from "./sim/errors.ts";
export type { Basis, TraceEvent, TraceEventName, TraceEvents, TraceHeader, TraceKind } from "./sim/events.ts";
export { Lock, type LockMode, type LockOwner, withLock } from "./sim/lock.ts";
export { type Allocation, type MemoryOptions, PhysicalMemory } from "./sim/memory.ts";
export { Mmio, type MmioRegion } from "./sim/mmio.ts";
export {
  type Acquire,
  type Condition,
  type Op,
  type Preempt,
  type Sleep,
  type Suspend,
  type Until,
  preempt,
  sleep,
  waitUntil,
} from "./sim/op.ts";
export { Recorder } from "./sim/recorder.ts";
export {
  DeadlockError,
  type NamedOp,
  type Outcome,
  type Returned,
  Scheduler,
  type StartedOp,
  type Thrown,
} from "./sim/scheduler.ts";
export { Trace, type TraceContext } from "./sim/trace.ts";
export {
  BOOT,
  type BootStep,
  CLOCK,
  HOOKS,
  IOMMU_CORE,
  KERNEL,
  MEMORY,
  MMIO,
  type Plugin,
  SCHEDULER,
  TRACE,
} from "./tokens.ts";
