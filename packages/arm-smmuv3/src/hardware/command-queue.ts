import {
  type Digest,
  type Digestible,
  type Engine,
  type PhysicalMemory,
  type Trace,
  getField,
  newWords,
} from "@iommu-lab/core";
import { commandName } from "../layout/command-text.ts";
import { COMMAND, COMMAND_BYTES, OPCODE } from "../layout/command.ts";
import type { Identification } from "../layout/id-registers.ts";
import { advance, isEmpty, positionOf } from "../layout/queue-index.ts";
import { CERROR, GERROR } from "../layout/registers.ts";
import type { AtcInvalidations } from "./atc-invalidations.ts";
import { isIllegal, signalsByMessage } from "./command-check.ts";
import type { CommandExecutor } from "./command-executor.ts";
import type { Control } from "./control.ts";
import type { GlobalErrors } from "./global-errors.ts";
import { QueueRegisters } from "./queue-registers.ts";

/** What the command queue belongs to. */
export interface CommandQueueParts {
  readonly name: string;
  readonly memory: PhysicalMemory;
  readonly trace: Trace;
  readonly id: Identification;
  readonly control: Control;
  readonly errors: GlobalErrors;
  readonly atc: AtcInvalidations;
  readonly executor: CommandExecutor;
}

const ERR_SHIFT = 24;

/**
 * The command queue: one command is fetched, checked and executed per step. A SYNC at its head waits for the ATC
 * invalidations before it; an error keeps the head and stops consumption until software acknowledges it.
 *
 * Source: SMMUv3 §3.5, §4, §7.1.
 */
export class CommandQueue implements Engine, Digestible {
  readonly name: string;
  /** Its registers. */
  readonly registers: QueueRegisters;
  readonly #parts: CommandQueueParts;
  readonly #words = newWords(2);
  /** The command at the head waits: a SYNC for completions, an ATC_INV for an ITag. */
  #waiting: "" | "completions" | "itag" = "";

  constructor(parts: CommandQueueParts) {
    this.name = `${parts.name} command queue`;
    this.#parts = parts;
    this.registers = new QueueRegisters(
      parts.id.commandQueueBits,
      COMMAND_BYTES,
      () => parts.control.commandQueueEnabled,
    );
  }

  /** An invalidation ended: what waits at the head may go on. */
  wake(): void {
    this.#waiting = "";
  }

  ready(): boolean {
    const { control, errors } = this.#parts;
    const { prod, cons, log2Size } = this.registers;
    return (
      this.#waiting === "" &&
      control.commandQueueEnabled &&
      !errors.active(GERROR.cmdqErr) &&
      !isEmpty(prod, cons, log2Size)
    );
  }

  step(): void {
    const { memory, id } = this.#parts;
    const slot = this.registers.slot(this.registers.cons);
    const submit = memory.writerOf(slot);
    if (!memory.exists(slot)) {
      this.#fail(CERROR.abt, "fetch", submit);
      return;
    }
    for (let index = 0; index < this.#words.length; index += 1) {
      this.#words[index] = memory.load32(slot + index * 4);
    }
    if (isIllegal(this.#words, id)) {
      this.#fail(CERROR.ill, commandName(this.#words), submit);
    } else if (getField(this.#words, COMMAND.opcode) === OPCODE.SYNC) {
      this.#sync(submit);
    } else {
      this.#execute(submit);
    }
  }

  deadline(): number {
    return Infinity;
  }

  digest(into: Digest): void {
    this.registers.digest(into);
    into.text(this.#waiting);
  }

  #execute(submit: number): void {
    const { executor } = this.#parts;
    const opcode = commandName(this.#words);
    const result = executor.execute(this.#words, submit);
    if (result === "no ITag") {
      this.#waiting = "itag";
      return;
    }
    this.#consume();
    if (result === "done") {
      this.#report(opcode, submit, "completed");
    }
  }

  #sync(submit: number): void {
    const { atc, memory } = this.#parts;
    if (!atc.idle) {
      this.#waiting = "completions";
      return;
    }
    if (atc.timedOut) {
      atc.reported();
      this.#fail(CERROR.atcInvSync, "SYNC", submit);
      return;
    }
    this.#consume();
    if (signalsByMessage(this.#words)) {
      memory.store32(getField(this.#words, COMMAND.msiAddress), getField(this.#words, COMMAND.msiData));
    }
    this.#report("SYNC", submit, "completed");
  }

  /** Moves the head past the command. The error code of an earlier one goes. */
  #consume(): void {
    const { registers } = this;
    registers.cons = advance(registers.cons, 1, registers.log2Size);
  }

  /** Source: SMMUv3 §7.1: ERR is set before GERROR tells. */
  #fail(error: number, opcode: string, submit: number): void {
    const { registers } = this;
    registers.cons = positionOf(registers.cons, registers.log2Size) | (error << ERR_SHIFT);
    this.#report(opcode, submit, ERROR_NAMES[error] ?? "error");
    this.#parts.errors.raise(GERROR.cmdqErr);
  }

  #report(opcode: string, submit: number, result: string): void {
    const { trace, name } = this.#parts;
    if (trace.active) {
      trace.emit("command:complete", { iommu: name, opcode, submit, result }, submit);
    }
  }
}

const ERROR_NAMES: Readonly<Record<number, string>> = {
  [CERROR.ill]: "CERROR_ILL",
  [CERROR.abt]: "CERROR_ABT",
  [CERROR.atcInvSync]: "CERROR_ATC_INV_SYNC",
};
