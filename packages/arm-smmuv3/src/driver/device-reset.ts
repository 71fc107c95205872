import type { Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { cmdCfgiAll, encodeCommand } from "../layout/command.ts";
import { CR0, CR1_WRITE_BACK_INNER, CR2, GBPA, IRQ_CTRL, REG, type Register64 } from "../layout/registers.ts";
import type { RecordQueueMemory, SmmuDevice } from "./smmu-device.ts";

const NO_MESSAGE: Register64 = [0, 0];

/** Turns the SMMU off. Source: Linux 7.2 `arm_smmu_device_disable()`. @throws KernelError ETIMEDOUT */
export function* disableDevice(smmu: SmmuDevice): Op<void> {
  yield* smmu.writeAndWait(REG.cr0, 0, REG.cr0Ack);
}

function idle(gbpa: number): boolean {
  return (gbpa & GBPA.update) === 0;
}

/** Changes GBPA by its own protocol. Source: Linux 7.2 `arm_smmu_update_gbpa()`. */
function* updateGbpa(smmu: SmmuDevice, set: number): Op<void> {
  yield* smmu.waitFor(REG.gbpa, idle);
  yield* smmu.write32(REG.gbpa, (smmu.read32(REG.gbpa) | set | GBPA.update) >>> 0);
  yield* smmu.waitFor(REG.gbpa, idle);
}

function* setUpRecordQueue(
  smmu: SmmuDevice,
  queue: RecordQueueMemory,
  base: number,
  prod: number,
  cons: number,
): Op<void> {
  yield* smmu.write64(base, queue.baseRegister);
  yield* smmu.write32(prod, 0);
  yield* smmu.write32(cons, 0);
}

/** Wired interrupts: no messages. Source: Linux 7.2 `arm_smmu_setup_irqs()`, `arm_smmu_setup_msis()`. */
function* setUpInterrupts(smmu: SmmuDevice): Op<void> {
  const { pri } = smmu.features;
  yield* smmu.writeAndWait(REG.irqCtrl, 0, REG.irqCtrlAck);
  yield* smmu.write64(REG.gerrorIrqCfg0, NO_MESSAGE);
  yield* smmu.write64(REG.eventqIrqCfg0, NO_MESSAGE);
  if (pri) {
    yield* smmu.write64(REG.priqIrqCfg0, NO_MESSAGE);
  }
  const enables = IRQ_CTRL.eventq | IRQ_CTRL.gerror | (pri ? IRQ_CTRL.priq : 0);
  try {
    yield* smmu.writeAndWait(REG.irqCtrl, enables, REG.irqCtrlAck);
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
    smmu.warn("arm_smmu_setup_irqs", "failed to enable irqs");
  }
}

/**
 * Brings the SMMU up: off, tables, command queue, caches emptied, event queue, PRI queue, ATS check, interrupts, and
 * translation last.
 *
 * Source: Linux 7.2 `arm_smmu_device_reset()`.
 *
 * @throws KernelError ETIMEDOUT when a register does not answer
 */
export function* resetDevice(smmu: SmmuDevice): Op<void> {
  const { features, commands, streamTable, events, pageRequests } = smmu;
  if ((smmu.read32(REG.cr0) & CR0.smmuen) !== 0) {
    smmu.warn("arm_smmu_device_reset", "SMMU currently enabled! Resetting...");
    yield* updateGbpa(smmu, GBPA.abort);
  }
  yield* disableDevice(smmu);
  yield* smmu.write32(REG.cr1, CR1_WRITE_BACK_INNER);
  yield* smmu.write32(REG.cr2, CR2.ptm | CR2.recInvSid | (features.e2h ? CR2.e2h : 0));
  yield* smmu.write64(REG.strtabBase, streamTable.baseRegister);
  yield* smmu.write32(REG.strtabBaseCfg, streamTable.configRegister);

  yield* smmu.write64(REG.cmdqBase, commands.baseRegister);
  yield* smmu.write32(REG.cmdqProd, commands.prod);
  yield* smmu.write32(REG.cmdqCons, 0);
  let enables: number = CR0.cmdqen;
  yield* smmu.writeAndWait(REG.cr0, enables, REG.cr0Ack);
  yield* commands.invalidate("device-reset:config", [cmdCfgiAll()]);
  if (features.hyp) {
    yield* commands.invalidate("device-reset:tlb-el2", [encodeCommand("TLBI_EL2_ALL")]);
  }
  yield* commands.invalidate("device-reset:tlb-nsnh", [encodeCommand("TLBI_NSNH_ALL")]);

  yield* setUpRecordQueue(smmu, events, REG.eventqBase, REG.eventqProd, REG.eventqCons);
  enables |= CR0.eventqen;
  yield* smmu.writeAndWait(REG.cr0, enables, REG.cr0Ack);
  if (features.pri) {
    yield* setUpRecordQueue(smmu, pageRequests, REG.priqBase, REG.priqProd, REG.priqCons);
    enables |= CR0.priqen;
    // While SMMUEN is 0 the queue takes nothing, but the bit is acknowledged.
    yield* smmu.writeAndWait(REG.cr0, enables, REG.cr0Ack);
  }
  if (features.ats) {
    enables |= CR0.atschk;
    yield* smmu.writeAndWait(REG.cr0, enables, REG.cr0Ack);
  }
  yield* setUpInterrupts(smmu);
  yield* smmu.writeAndWait(REG.cr0, enables | CR0.smmuen, REG.cr0Ack);
}
