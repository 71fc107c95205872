import type { ConfigSpace } from "../config-space/config-space.ts";
import {
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
} from "../config-space/extended-layouts.ts";
import { CAP_ID_AF, CAP_ID_EXP, CAP_ID_PM } from "../config-space/standard-layouts.ts";

const COMMAND = 4;
const BUS_MASTER = 4;
const ATS_CONTROL = 6;
const PRI_CONTROL = 4;
const PRI_STATUS = 6;
const PRI_CAPACITY = 8;
const PRI_ALLOCATION = 12;
const PASID_CAPABILITY = 4;
const PASID_CONTROL = 6;
const DEVICE_CONTROL = 8;
const DEVICE_STATUS = 0xa;
const AF_CONTROL = 4;
const AF_STATUS = 5;
const PM_CONTROL = 4;
const POWER_STATE = 3;
const D3HOT = 3;
const NO_SOFT_RESET = 8;
const SRIOV_CONTROL = 8;
const NUM_VFS = 0x10;
const VF_ENABLE = 1;
const VF_MEMORY = 8;
const RESPONSE_FAILURE = 1;
const UNEXPECTED_INDEX = 2;
const STOPPED = 0x100;
const RESPONSE_PASID = 0x8000;
const TRANSACTIONS_PENDING = 0x20;

/** The registers by which a function steers its own requests, wherever its capabilities are. */
export class FunctionRegisters {
  readonly #config: ConfigSpace;
  readonly #ats: number;
  readonly #pri: number;
  readonly #pasid: number;
  readonly #pcie: number;
  readonly #af: number;
  readonly #pm: number;
  readonly #sriov: number;

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#ats = config.findExtendedCapability(EXT_CAP_ID_ATS);
    this.#pri = config.findExtendedCapability(EXT_CAP_ID_PRI);
    this.#pasid = config.findExtendedCapability(EXT_CAP_ID_PASID);
    this.#pcie = config.findCapability(CAP_ID_EXP);
    this.#af = config.findCapability(CAP_ID_AF);
    this.#pm = config.findCapability(CAP_ID_PM);
    this.#sriov = config.findExtendedCapability(EXT_CAP_ID_SRIOV);
  }

  get hasAts(): boolean {
    return this.#ats !== 0;
  }

  get hasPri(): boolean {
    return this.#pri !== 0;
  }

  get busMaster(): boolean {
    return (this.#config.read8(COMMAND) & BUS_MASTER) !== 0;
  }

  get atsEnabled(): boolean {
    return this.#ats !== 0 && (this.#config.read8(this.#ats + ATS_CONTROL + 1) & 0x80) !== 0;
  }

  /** Smallest Translation Unit: 2^(12 + stu) bytes. */
  get stu(): number {
    return this.#ats === 0 ? 0 : this.#config.read8(this.#ats + ATS_CONTROL) & 0x1f;
  }

  /** Global Invalidate Supported. */
  get globalInvalidate(): boolean {
    return this.#ats !== 0 && (this.#config.read8(this.#ats + 4) & 0x40) !== 0;
  }

  /** How many Invalidate Requests it can hold. */
  get invalidateQueueDepth(): number {
    return this.#ats === 0 ? 0 : this.#config.read8(this.#ats + 4) & 0x1f || 32;
  }

  get pasidEnabled(): boolean {
    return this.#pasid !== 0 && (this.#config.read8(this.#pasid + PASID_CONTROL) & 1) !== 0;
  }

  /** Execute Permission Enable. */
  get pasidExecute(): boolean {
    return this.#pasid !== 0 && (this.#config.read8(this.#pasid + PASID_CONTROL) & 2) !== 0;
  }

  /** Privileged Mode Enable. */
  get pasidPrivileged(): boolean {
    return this.#pasid !== 0 && (this.#config.read8(this.#pasid + PASID_CONTROL) & 4) !== 0;
  }

  /** First PASID that does not fit. */
  get pasidLimit(): number {
    return this.#pasid === 0 ? 0 : 2 ** (this.#config.read8(this.#pasid + PASID_CAPABILITY + 1) & 0x1f);
  }

  get priEnabled(): boolean {
    return this.#pri !== 0 && (this.#config.read8(this.#pri + PRI_CONTROL) & 1) !== 0;
  }

  /** Stopped, or a Response Failure: the interface takes no requests. */
  get priStopped(): boolean {
    return this.#pri === 0 || (this.#config.read16(this.#pri + PRI_STATUS) & (STOPPED | RESPONSE_FAILURE)) !== 0;
  }

  /** Outstanding Page Request Allocation, at most the capacity. */
  get priAllocation(): number {
    const at = this.#pri;
    return at === 0 ? 0 : Math.min(this.#config.read32(at + PRI_ALLOCATION), this.#config.read32(at + PRI_CAPACITY));
  }

  /** PRG Response PASID Required. */
  get priResponsePasid(): boolean {
    return this.#pri !== 0 && (this.#config.read16(this.#pri + PRI_STATUS) & RESPONSE_PASID) !== 0;
  }

  /** Response Failure is set. */
  get priFailed(): boolean {
    return this.#pri !== 0 && (this.#config.read16(this.#pri + PRI_STATUS) & RESPONSE_FAILURE) !== 0;
  }

  /** Whether a write turned ATS Enable on; the two values are those of a write's listener. */
  atsTurnedOn(offset: number, size: number, before: number, after: number): boolean {
    return this.#ats !== 0 && rose(this.#ats + ATS_CONTROL + 1, 0x80, offset, size, before, after);
  }

  /** Whether a write turned ATS Enable off. */
  atsTurnedOff(offset: number, size: number, before: number, after: number): boolean {
    return this.#ats !== 0 && rose(this.#ats + ATS_CONTROL + 1, 0x80, offset, size, after, before);
  }

  /** Whether a write turned PRI Enable on (1) or off (-1); 0 = neither. */
  priChange(offset: number, size: number, before: number, after: number): number {
    const at = this.#pri + PRI_CONTROL;
    if (this.#pri === 0) {
      return 0;
    }
    if (rose(at, 1, offset, size, before, after)) {
      return 1;
    }
    return rose(at, 1, offset, size, after, before) ? -1 : 0;
  }

  /** Whether a write started a PRI Reset. */
  startsPriReset(offset: number, size: number, started: number): boolean {
    return this.#pri !== 0 && rose(this.#pri + PRI_CONTROL, 2, offset, size, 0, started);
  }

  /**
   * Which reset a write started: a Function Level Reset by PCI Express or by Advanced Features, or the way from D3hot to D0
   * with No_Soft_Reset = 0; `""` = none.
   */
  startsReset(
    offset: number,
    size: number,
    before: number,
    after: number,
    started: number,
  ): "flr" | "af-flr" | "d3hot-d0" | "" {
    if (this.#pcie !== 0 && rose(this.#pcie + DEVICE_CONTROL + 1, 0x80, offset, size, 0, started)) {
      return "flr";
    }
    if (this.#af !== 0 && rose(this.#af + AF_CONTROL, 1, offset, size, 0, started)) {
      return "af-flr";
    }
    return this.#leavesD3hot(offset, size, before, after) ? "d3hot-d0" : "";
  }

  /** Why the function may not send requests; `""` = it may. */
  get masterRefusal(): string {
    if (!this.busMaster) {
      return "Bus Master Enable is 0";
    }
    return this.#pm !== 0 && (this.#config.read8(this.#pm + PM_CONTROL) & POWER_STATE) === D3HOT ? "in D3hot" : "";
  }

  get hasSriov(): boolean {
    return this.#sriov !== 0;
  }

  get vfsEnabled(): boolean {
    return this.#sriov !== 0 && (this.#config.read8(this.#sriov + SRIOV_CONTROL) & VF_ENABLE) !== 0;
  }

  /** NumVFs; 0 without the capability. */
  get numVfs(): number {
    return this.#sriov === 0 ? 0 : this.#config.read16(this.#sriov + NUM_VFS);
  }

  /** Whether a write turned VF Enable on (1) or off (-1); 0 = neither. */
  vfEnableChange(offset: number, size: number, before: number, after: number): number {
    const at = this.#sriov + SRIOV_CONTROL;
    if (this.#sriov === 0) {
      return 0;
    }
    if (rose(at, VF_ENABLE, offset, size, before, after)) {
      return 1;
    }
    return rose(at, VF_ENABLE, offset, size, after, before) ? -1 : 0;
  }

  /** Sets VF Enable, VF MSE and NumVFs, as firmware leaves them. */
  enableVfs(count: number): void {
    if (this.#sriov !== 0) {
      this.#config.poke16(this.#sriov + NUM_VFS, Math.max(this.numVfs, count));
      const at = this.#sriov + SRIOV_CONTROL;
      this.#config.poke8(at, this.#config.read8(at) | VF_ENABLE | VF_MEMORY);
    }
  }

  /** Sets or clears Stopped. */
  setPriStopped(stopped: boolean): void {
    this.#setStatus(STOPPED, stopped);
  }

  /** A response failed: the interface stops until it is reset. */
  failPri(): void {
    this.#setStatus(RESPONSE_FAILURE, true);
    this.#setStatus(STOPPED, true);
  }

  /** A response names a group that nobody waits for. */
  noteUnexpectedIndex(): void {
    this.#setStatus(UNEXPECTED_INDEX, true);
  }

  /** PRI Reset clears what the responses left. */
  clearPri(): void {
    this.#setStatus(RESPONSE_FAILURE, false);
    this.#setStatus(UNEXPECTED_INDEX, false);
  }

  /** Sets or clears Transactions Pending. */
  setPending(pending: boolean): void {
    if (this.#pcie !== 0) {
      const at = this.#pcie + DEVICE_STATUS;
      const status = this.#config.read8(at);
      this.#config.poke8(at, pending ? status | TRANSACTIONS_PENDING : status & ~TRANSACTIONS_PENDING);
    }
    if (this.#af !== 0) {
      this.#config.poke8(this.#af + AF_STATUS, pending ? 1 : 0);
    }
  }

  #leavesD3hot(offset: number, size: number, before: number, after: number): boolean {
    const index = this.#pm + PM_CONTROL - offset;
    if (this.#pm === 0 || index < 0 || index >= size) {
      return false;
    }
    const [old, now] = [before, after].map((value) => (value >>> (8 * index)) & (POWER_STATE | NO_SOFT_RESET));
    return old === D3HOT && now === 0;
  }

  #setStatus(mask: number, on: boolean): void {
    const at = this.#pri + PRI_STATUS;
    const status = this.#config.read16(at);
    this.#config.poke16(at, on ? status | mask : status & ~mask);
  }
}

/** Whether a bit of the byte at `at` went from 0 to 1 in a write of `size` bytes at `offset`. */
function rose(at: number, mask: number, offset: number, size: number, before: number, after: number): boolean {
  const index = at - offset;
  if (index < 0 || index >= size) {
    return false;
  }
  return ((before >>> (8 * index)) & mask) === 0 && ((after >>> (8 * index)) & mask) !== 0;
}
