/**
 * What a translation grants and is, as bits of one integer: the walks fill it in, the TLB keeps it.
 *
 * Bits 5:0 are stage 1, 9:6 stage 2. A stage that is not there grants everything.
 */
export const ATTR = {
  /** Stage 1: unprivileged reads. */
  userRead: 0x1,
  /** Stage 1: unprivileged writes. */
  userWrite: 0x2,
  /** Stage 1: unprivileged instruction fetches. */
  userExecute: 0x4,
  /** Stage 1: privileged reads. */
  read: 0x8,
  /** Stage 1: privileged writes. */
  write: 0x10,
  /** Stage 1: privileged instruction fetches. */
  execute: 0x20,
  /** Stage 2: reads. */
  s2Read: 0x40,
  /** Stage 2: writes. */
  s2Write: 0x80,
  /** Stage 2: unprivileged instruction fetches. */
  s2UserExecute: 0x100,
  /** Stage 2: privileged instruction fetches. */
  s2Execute: 0x200,
  /** Stage 1 is writable-clean: the first write has to make it dirty. */
  clean: 0x400,
  /** Stage 2 is writable-clean. */
  s2Clean: 0x800,
  /** Write-back cacheable. */
  writeBack: 0x1000,
  /** Inner or outer shareable. */
  shareable: 0x2000,
  /** Stage 2 makes it write-back whatever stage 1 says. */
  forcedWriteBack: 0x4000,
  /** Device memory by stage 2. */
  s2Device: 0x8000,
  /** Stage 1: AF is 0 and the SMMU has to set it. */
  needsAccessFlag: 0x10000,
  /** Stage 2: AF is 0 and the SMMU has to set it. */
  s2NeedsAccessFlag: 0x20000,
  /** nG = 0: for every ASID. */
  global: 0x40000,
  /** In the TLB: ASET of the context that brought it; broadcasts of CPUs do not reach it. */
  unshared: 0x80000,
} as const;

/** Everything that stage 1 can grant. */
export const STAGE1_ALL = 0x3f;
/** Everything that stage 2 can grant. */
export const STAGE2_ALL = 0x3c0;
/** Bits of stage 1. */
const STAGE1_BITS: number = STAGE1_ALL | ATTR.clean | ATTR.needsAccessFlag | ATTR.global;
/** Bits of stage 2. */
const STAGE2_BITS: number = STAGE2_ALL | ATTR.s2Clean | ATTR.s2NeedsAccessFlag | ATTR.s2Device;
/** Some AF has to be set. */
export const NEEDS_UPDATE: number = ATTR.needsAccessFlag | ATTR.s2NeedsAccessFlag;
/** Some page is writable-clean. */
export const ANY_CLEAN: number = ATTR.clean | ATTR.s2Clean;

/** Read permission, a bit of what {@link grantedByStage1} and {@link grantedByStage2} give. */
export const PERMIT_READ = 1;
/** Write permission. */
export const PERMIT_WRITE = 2;
/** Execute permission. */
export const PERMIT_EXECUTE = 4;
const PERMITS = 7;

/** What stage 1 grants at a privilege, as `PERMIT_` bits. A writable-clean page counts as writable. */
export function grantedByStage1(attributes: number, privileged: boolean): number {
  return (privileged ? attributes >>> 3 : attributes) & PERMITS;
}

/** What stage 2 grants, as `PERMIT_` bits. */
export function grantedByStage2(attributes: number, privileged: boolean): number {
  const execute = attributes & (privileged ? ATTR.s2Execute : ATTR.s2UserExecute);
  return ((attributes >>> 6) & (PERMIT_READ | PERMIT_WRITE)) | (execute === 0 ? 0 : PERMIT_EXECUTE);
}

/** Both stages in one: permissions of both, the more shareable, write-back if both are or stage 2 forces it. */
export function combine(stage1: number, stage2: number): number {
  const writeBack = (stage2 & ATTR.forcedWriteBack) === 0 ? stage1 & stage2 & ATTR.writeBack : ATTR.writeBack;
  const shareable = (stage1 | stage2) & ATTR.shareable;
  return (stage1 & STAGE1_BITS) | (stage2 & STAGE2_BITS) | writeBack | shareable;
}

/** Write-back and shareable: what CXL.cache may reach. */
export function isCoherent(attributes: number): boolean {
  const both = ATTR.writeBack | ATTR.shareable;
  return (attributes & both) === both;
}
