import { getField } from "@iommu-lab/core";
import { NO_PASID, type IommuHardware, type Rid, type RootComplex } from "@iommu-lab/pci";
import { ATC_SIZE_ALL, COMMAND, OPCODE, PRI_RESPONSE } from "../layout/command.ts";
import type { AtcInvalidations } from "./atc-invalidations.ts";
import { coversAllStreams } from "./command-check.ts";
import type { ConfigCache } from "./config-cache.ts";
import type { ConfigLookup } from "./config-lookup.ts";
import type { Control } from "./control.ts";
import type { StallListener, Stalls } from "./stalls.ts";
import type { TlbMaintenance } from "./tlb-maintenance.ts";

/** What commands act on. */
export interface ExecutorParts {
  /** The SMMU, as messages name their sender. */
  readonly smmu: IommuHardware;
  readonly control: Control;
  readonly configs: ConfigCache;
  readonly lookup: ConfigLookup;
  readonly tlb: TlbMaintenance;
  readonly stalls: Stalls;
  /** Goes on with a stalled transaction. */
  readonly resume: StallListener;
  readonly atc: AtcInvalidations;
  readonly root: RootComplex;
  /** Requester ID of a StreamID; undefined = no function behind it. */
  readonly ridOf: (sid: number) => Rid | undefined;
}

/** What became of a command. */
export type Execution = "done" | "sent" | "no ITag";

/** Largest Size of ATC_INV below "everything". */
const PAGE_LOG2 = 12;
const EVERYTHING_LOG2 = 64;
/** PRG Response codes. Source: PCIe 6.0 §10.4.2. */
const PRG_CODES: ReadonlyMap<number, number> = new Map([
  [PRI_RESPONSE.failure, 15],
  [PRI_RESPONSE.invalid, 1],
  [PRI_RESPONSE.success, 0],
]);

/** Executes commands that were found legal. SYNC is the queue's own. Source: SMMUv3 §4.2 to §4.6. */
export class CommandExecutor {
  readonly #parts: ExecutorParts;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
  }

  /** @param submit trace event of the command's submission */
  execute(words: ArrayLike<number>, submit: number): Execution {
    const opcode = getField(words, COMMAND.opcode);
    switch (opcode) {
      case OPCODE.ATC_INV:
        return this.#invalidateAtc(words, submit);
      case OPCODE.PRI_RESP:
        this.#respond(words);
        break;
      case OPCODE.PREFETCH_CONFIG:
        this.#prefetch(words);
        break;
      case OPCODE.CFGI_STE:
      case OPCODE.CFGI_STE_RANGE:
      case OPCODE.CFGI_CD:
      case OPCODE.CFGI_CD_ALL:
        this.#invalidateConfig(opcode, words);
        break;
      case OPCODE.RESUME:
      case OPCODE.STALL_TERM:
        this.#endStalls(opcode, words);
        break;
      default:
        this.#parts.tlb.execute(words);
    }
    return "done";
  }

  #invalidateConfig(opcode: number, words: ArrayLike<number>): void {
    const { configs, control } = this.#parts;
    const sid = getField(words, COMMAND.sid);
    const leaf = getField(words, COMMAND.leaf) === 1;
    const { split } = control.streamTable;
    switch (opcode) {
      case OPCODE.CFGI_STE:
        configs.dropStreams(sid, 1, leaf ? undefined : split);
        break;
      case OPCODE.CFGI_CD:
        configs.dropContext(sid, getField(words, COMMAND.ssid), leaf);
        break;
      case OPCODE.CFGI_CD_ALL:
        configs.dropContexts(sid);
        break;
      default:
        if (coversAllStreams(words)) {
          configs.clear();
        } else {
          const count = 2 ** (getField(words, COMMAND.range) + 1);
          configs.dropStreams(sid - (sid % count), count, split);
        }
    }
  }

  /** RESUME and STALL_TERM. Source: SMMUv3 §4.6. */
  #endStalls(opcode: number, words: ArrayLike<number>): void {
    const sid = getField(words, COMMAND.sid);
    const { stalls, resume } = this.#parts;
    if (opcode === OPCODE.STALL_TERM) {
      for (const tag of stalls.tagsOf(sid)) {
        const request = stalls.take(tag, sid);
        if (request !== undefined) {
          resume(tag, request, "abort");
        }
      }
      return;
    }
    const tag = getField(words, COMMAND.stag);
    const request = stalls.take(tag, sid);
    if (request !== undefined) {
      const end = getField(words, COMMAND.ab) === 1 ? "abort" : "ignore";
      resume(tag, request, getField(words, COMMAND.ac) === 1 ? "retry" : end);
    }
  }

  /** Reads the configuration ahead of its use, without recording anything. */
  #prefetch(words: ArrayLike<number>): void {
    const { control, lookup } = this.#parts;
    if (control.enabled) {
      lookup.findStream(getField(words, COMMAND.sid));
    }
  }

  /** Source: SMMUv3 §4.5.1. */
  #invalidateAtc(words: ArrayLike<number>, submit: number): Execution {
    const { smmu, control, atc, root, ridOf } = this.#parts;
    const rid = ridOf(getField(words, COMMAND.sid));
    if (!control.enabled || rid === undefined) {
      return "done";
    }
    const itag = atc.take(rid, submit);
    if (itag < 0) {
      return "no ITag";
    }
    const size = getField(words, COMMAND.size);
    const substream = getField(words, COMMAND.ssv) === 1;
    const all = size >= ATC_SIZE_ALL;
    const page = getField(words, COMMAND.page);
    const delivery = root.sendInvalidate(
      smmu,
      rid,
      itag,
      substream ? getField(words, COMMAND.ssid) : NO_PASID,
      all ? 0 : page - (page % 2 ** size),
      all ? EVERYTHING_LOG2 : PAGE_LOG2 + size,
      substream && getField(words, COMMAND.global) === 1,
      submit,
    );
    if (delivery === "UR") {
      atc.unsupported(rid, itag);
    }
    return "sent";
  }

  /** Source: SMMUv3 §4.5.2. */
  #respond(words: ArrayLike<number>): void {
    const { smmu, control, root, ridOf } = this.#parts;
    const rid = ridOf(getField(words, COMMAND.sid));
    if (!control.enabled || rid === undefined) {
      return;
    }
    const pasid = getField(words, COMMAND.ssv) === 1 ? getField(words, COMMAND.ssid) : NO_PASID;
    const code = PRG_CODES.get(getField(words, COMMAND.resp)) ?? 0;
    root.sendPageResponse(smmu, rid, pasid, getField(words, COMMAND.prgIndex), code);
  }
}
