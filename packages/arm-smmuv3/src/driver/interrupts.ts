import { type Engine, type PhysicalMemory, getField, newWords } from "@iommu-lab/core";
import type { InterruptLine, InterruptLines } from "../interrupt-line.ts";
import { PRI_RESPONSE, cmdPriResp } from "../layout/command.ts";
import { PAGE_REQUEST, PAGE_REQUEST_BYTES } from "../layout/page-request-record.ts";
import { OVERFLOW_FLAG, advance, indexOf, isEmpty } from "../layout/queue-index.ts";
import { GERROR, GERROR_ERRORS, REG } from "../layout/registers.ts";
import type { RecordQueueMemory, SmmuDevice } from "./smmu-device.ts";

/** Gives the SMMU of a description once it is up. */
export type FindSmmu = () => SmmuDevice | undefined;

/** A handler that runs on a CPU when its line is raised. */
abstract class Handler implements Engine {
  readonly name: string;
  readonly #line: InterruptLine;

  constructor(line: InterruptLine) {
    this.name = `irq ${line.name}`;
    this.#line = line;
  }

  ready(): boolean {
    return this.#line.pending;
  }

  step(): void {
    this.#line.take();
    this.handle();
  }

  deadline(): number {
    return Infinity;
  }

  protected abstract handle(): void;
}

/** Source: Linux 7.2 `arm_smmu_gerror_handler()`. */
class GlobalErrorHandler extends Handler {
  readonly #find: FindSmmu;

  constructor(line: InterruptLine, find: FindSmmu) {
    super(line);
    this.#find = find;
  }

  protected handle(): void {
    const smmu = this.#find();
    if (smmu === undefined) {
      return;
    }
    const gerror = smmu.read32(REG.gerror);
    const active = gerror ^ smmu.read32(REG.gerrorn);
    if ((active & GERROR_ERRORS) === 0) {
      return;
    }
    smmu.warn("arm_smmu_gerror_handler", `unexpected global error reported (0x${active.toString(16)})`);
    if ((active & GERROR.cmdqErr) !== 0) {
      smmu.commands.skipError();
    }
    smmu.writeNow(REG.gerrorn, gerror);
  }
}

/** Takes records out of a queue and acknowledges an overflow. Source: Linux 7.2 `arm_smmu_evtq_thread()`. */
abstract class QueueHandler extends Handler {
  readonly #find: FindSmmu;
  readonly #prod: number;
  readonly #cons: number;

  constructor(line: InterruptLine, find: FindSmmu, prod: number, cons: number) {
    super(line);
    this.#find = find;
    this.#prod = prod;
    this.#cons = cons;
  }

  protected handle(): void {
    const smmu = this.#find();
    if (smmu === undefined) {
      return;
    }
    const queue = this.queue(smmu);
    const prod = smmu.read32(this.#prod);
    let cons = smmu.read32(this.#cons);
    if (((prod ^ cons) & OVERFLOW_FLAG) !== 0) {
      smmu.warn(this.name, "overflow detected -- records lost");
    }
    while (!isEmpty(prod, cons, queue.log2Size)) {
      this.take(smmu, queue, indexOf(cons, queue.log2Size));
      cons = (advance(cons, 1, queue.log2Size) | (cons & OVERFLOW_FLAG)) >>> 0;
      smmu.writeNow(this.#cons, cons);
    }
    if (((prod ^ cons) & OVERFLOW_FLAG) !== 0) {
      smmu.writeNow(this.#cons, (cons ^ OVERFLOW_FLAG) >>> 0);
    }
  }

  protected abstract queue(smmu: SmmuDevice): RecordQueueMemory;
  protected abstract take(smmu: SmmuDevice, queue: RecordQueueMemory, index: number): void;
}

/** Events of functions that may not stall need no answer. Source: Linux 7.2 `arm_smmu_handle_event()`. */
class EventHandler extends QueueHandler {
  protected queue(smmu: SmmuDevice): RecordQueueMemory {
    return smmu.events;
  }

  protected take(): void {
    // The record was logged; nothing else follows from it.
  }
}

/** Linux enables PRI nowhere, so a request is unexpected: the last of a group is denied. Source: `arm_smmu_handle_ppr()`. */
class PageRequestHandler extends QueueHandler {
  protected queue(smmu: SmmuDevice): RecordQueueMemory {
    return smmu.pageRequests;
  }

  protected take(smmu: SmmuDevice, queue: RecordQueueMemory, index: number): void {
    const record = readRecord(smmu.ports.memory, queue.address + index * PAGE_REQUEST_BYTES, 2);
    const sid = getField(record, PAGE_REQUEST.sid);
    const ssid = getField(record, PAGE_REQUEST.ssv) === 1 ? getField(record, PAGE_REQUEST.ssid) : undefined;
    smmu.warn("arm_smmu_handle_ppr", `unexpected PRI request received: sid 0x${sid.toString(16)}`);
    if (getField(record, PAGE_REQUEST.last) === 1) {
      const group = getField(record, PAGE_REQUEST.prgIndex);
      smmu.commands.issueFromInterrupt(cmdPriResp(sid, ssid, group, PRI_RESPONSE.failure));
    }
  }
}

function readRecord(memory: PhysicalMemory, address: number, count: number): Uint32Array {
  const words = newWords(count);
  for (let index = 0; index < words.length; index += 1) {
    words[index] = memory.load32(address + index * 4);
  }
  return words;
}

/** The interrupt handlers of one SMMU, as engines of the scheduler. */
export function interruptHandlers(lines: InterruptLines, find: FindSmmu): readonly Engine[] {
  return [
    new GlobalErrorHandler(lines.gerror, find),
    new EventHandler(lines.eventq, find, REG.eventqProd, REG.eventqCons),
    new PageRequestHandler(lines.priq, find, REG.priqProd, REG.priqCons),
  ];
}
