import type { Digest, Digestible, Engine } from "@iommu-lab/core";
import type { Identification } from "../layout/id-registers.ts";
import type { Register64, StreamTableConfig } from "../layout/registers.ts";
import { CR0, CR2, GBPA, decodeStrtabBase, decodeStrtabBaseCfg } from "../layout/registers.ts";
import type { InterruptMask } from "./global-errors.ts";

const CR0_WRITABLE = CR0.smmuen | CR0.priqen | CR0.eventqen | CR0.cmdqen | CR0.atschk;
const CR2_WRITABLE = CR2.e2h | CR2.recInvSid | CR2.ptm | CR2.recCfgAts;
const IRQ_WRITABLE = 7;

/**
 * The control registers. A change of CR0, IRQ_CTRL or GBPA takes effect in a step of its own, after which the
 * acknowledge register (or GBPA.UPDATE) tells.
 *
 * Source: SMMUv3 §6.3.9 to §6.3.16, §6.3.24, §6.3.25.
 */
export class Control implements Engine, InterruptMask, Digestible {
  readonly name: string;
  readonly #id: Identification;
  readonly #applied: () => void;
  #cr0 = 0;
  #cr0Ack = 0;
  #irqCtrl = 0;
  #irqCtrlAck = 0;
  #gbpa = 0;
  #gbpaNext = 0;
  #strtabBase: Register64 = [0, 0];
  #strtabBaseCfg = 0;
  #streamTable: StreamTableConfig = decodeStrtabBaseCfg(0);
  /** SMMU_CR1. */
  cr1 = 0;
  #cr2 = 0;

  /** @param applied told when a change of CR0 took effect */
  constructor(name: string, id: Identification, applied: () => void) {
    this.name = `${name} control`;
    this.#id = id;
    this.#applied = applied;
  }

  /** SMMUEN in effect. */
  get enabled(): boolean {
    return (this.#cr0Ack & CR0.smmuen) !== 0;
  }

  /** CMDQEN in effect. */
  get commandQueueEnabled(): boolean {
    return (this.#cr0Ack & CR0.cmdqen) !== 0;
  }

  /** EVENTQEN in effect. */
  get eventQueueEnabled(): boolean {
    return (this.#cr0Ack & CR0.eventqen) !== 0;
  }

  /** PRIQEN in effect: it needs SMMUEN. */
  get pageRequestQueueEnabled(): boolean {
    return this.enabled && (this.#cr0Ack & CR0.priqen) !== 0;
  }

  /** ATSCHK in effect. */
  get checksTranslated(): boolean {
    return (this.#cr0Ack & CR0.atschk) !== 0;
  }

  /** CR2.E2H. */
  get e2h(): boolean {
    return (this.#cr2 & CR2.e2h) !== 0;
  }

  /** CR2.PTM = 0: it takes part in TLB maintenance broadcasts. */
  get takesBroadcasts(): boolean {
    return (this.#cr2 & CR2.ptm) === 0;
  }

  /** CR2.RECINVSID: C_BAD_STREAMID is recorded. */
  get recordsBadStreamId(): boolean {
    return (this.#cr2 & CR2.recInvSid) !== 0;
  }

  /** CR2.REC_CFG_ATS: configuration errors of ATS requests are recorded. */
  get recordsAtsErrors(): boolean {
    return (this.#cr2 & CR2.recCfgAts) !== 0;
  }

  /** GBPA.ABORT in effect. */
  get abortsWhenOff(): boolean {
    return (this.#gbpa & GBPA.abort) !== 0;
  }

  /** Address in SMMU_STRTAB_BASE. */
  get streamTableAddress(): number {
    return decodeStrtabBase(this.#strtabBase);
  }

  /** SMMU_STRTAB_BASE_CFG. */
  get streamTable(): StreamTableConfig {
    return this.#streamTable;
  }

  /** SMMU_CR0. */
  get cr0(): number {
    return this.#cr0;
  }

  /** SMMU_CR0ACK. */
  get cr0Ack(): number {
    return this.#cr0Ack;
  }

  /** SMMU_CR2. */
  get cr2(): number {
    return this.#cr2;
  }

  /** SMMU_IRQ_CTRL. */
  get irqCtrl(): number {
    return this.#irqCtrl;
  }

  /** SMMU_IRQ_CTRLACK. */
  get irqCtrlAck(): number {
    return this.#irqCtrlAck;
  }

  /** SMMU_GBPA; UPDATE is set while a change is on its way. */
  get gbpa(): number {
    return (this.#gbpaNext | this.#gbpa) >>> 0;
  }

  /** SMMU_STRTAB_BASE. */
  get strtabBase(): Register64 {
    return this.#strtabBase;
  }

  /** SMMU_STRTAB_BASE_CFG as written. */
  get strtabBaseCfg(): number {
    return this.#strtabBaseCfg;
  }

  interruptEnabled(bit: number): boolean {
    return (this.#irqCtrlAck & bit) !== 0;
  }

  /** Writes SMMU_CR0. */
  writeCr0(value: number): void {
    const absent = (this.#id.ats ? 0 : CR0.atschk) | (this.#id.pri ? 0 : CR0.priqen);
    this.#cr0 = value & CR0_WRITABLE & ~absent;
  }

  /** Writes SMMU_CR2; ignored while the SMMU is on. */
  writeCr2(value: number): void {
    if (!this.#on) {
      const absent = (this.#id.hyp ? 0 : CR2.e2h) | (this.#id.atsRecordErrors ? 0 : CR2.recCfgAts);
      this.#cr2 = value & CR2_WRITABLE & ~absent;
    }
  }

  /** Writes SMMU_IRQ_CTRL. */
  writeIrqCtrl(value: number): void {
    this.#irqCtrl = value & IRQ_WRITABLE;
  }

  /** Writes SMMU_GBPA: only with UPDATE, and not while the last change is on its way. */
  writeGbpa(value: number): void {
    if ((value & GBPA.update) !== 0 && this.#gbpaNext === 0) {
      this.#gbpaNext = value >>> 0;
    }
  }

  /** Writes SMMU_STRTAB_BASE; ignored while the SMMU is on. */
  writeStrtabBase(lo: number, hi: number): void {
    if (!this.#on) {
      this.#strtabBase = [lo >>> 0, hi >>> 0];
    }
  }

  /** Writes SMMU_STRTAB_BASE_CFG; ignored while the SMMU is on. */
  writeStrtabBaseCfg(value: number): void {
    if (!this.#on) {
      this.#strtabBaseCfg = value >>> 0;
      this.#streamTable = decodeStrtabBaseCfg(value);
    }
  }

  ready(): boolean {
    return this.#cr0 !== this.#cr0Ack || this.#irqCtrl !== this.#irqCtrlAck || this.#gbpaNext !== 0;
  }

  step(): void {
    if (this.#gbpaNext !== 0) {
      this.#gbpa = (this.#gbpaNext & ~GBPA.update) >>> 0;
      this.#gbpaNext = 0;
    } else if (this.#cr0 === this.#cr0Ack) {
      this.#irqCtrlAck = this.#irqCtrl;
    } else {
      this.#cr0Ack = this.#cr0;
      this.#applied();
    }
  }

  deadline(): number {
    return Infinity;
  }

  digest(into: Digest): void {
    const values = [this.#cr0, this.#cr0Ack, this.cr1, this.#cr2, this.#irqCtrl, this.#irqCtrlAck, this.#gbpa];
    for (const value of [...values, this.#gbpaNext, ...this.#strtabBase, this.#strtabBaseCfg]) {
      into.number(value);
    }
  }

  /** On, or about to be. */
  get #on(): boolean {
    return ((this.#cr0 | this.#cr0Ack) & CR0.smmuen) !== 0;
  }
}
