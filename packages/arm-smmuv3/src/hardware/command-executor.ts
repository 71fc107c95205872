import { getField } from "@iommu-lab/core";
import { NO_PASID, type IommuHardware, type Rid, type RootComplex } from "@iommu-lab/pci";
import { ATC_SIZE_ALL, COMMAND, OPCODE, PRI_RESPONSE } from "../layout/command.ts";
import type { Identification } from "../layout/id-registers.ts";
import type { AtcInvalidations } from "./atc-invalidations.ts";
import { coversAllStreams } from "./command-check.ts";
import type { ConfigCache } from "./config-cache.ts";
import type { ConfigLookup } from "./config-lookup.ts";
import type { Control } from "./control.ts";
import type { InvalidationRange, IoTlb } from "./io-tlb.ts";
import { WORLD } from "./stream-entry.ts";

/** What commands act on. */
export interface ExecutorParts {
  /** The SMMU, as messages name their sender. */
  readonly smmu: IommuHardware;
  readonly id: Identification;
  readonly control: Control;
  readonly configs: ConfigCache;
  readonly lookup: ConfigLookup;
  readonly tlb: IoTlb;
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
      default:
        this.#invalidateTlb(opcode, words);
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

  #invalidateTlb(opcode: number, words: ArrayLike<number>): void {
    const { tlb, id } = this.#parts;
    const vmid = id.stage2 ? getField(words, COMMAND.vmid) % 2 ** id.vmidBits : 0;
    const asid = getField(words, COMMAND.asid);
    switch (opcode) {
      case OPCODE.TLBI_NH_ALL:
      case OPCODE.TLBI_S12_VMALL:
        tlb.dropWorld(WORLD.nsEl1, vmid);
        break;
      case OPCODE.TLBI_NSNH_ALL:
        tlb.dropWorld(WORLD.nsEl1);
        break;
      case OPCODE.TLBI_NH_ASID:
        tlb.dropAsid(WORLD.nsEl1, vmid, asid);
        break;
      case OPCODE.TLBI_NH_VA:
        tlb.dropRange(WORLD.nsEl1, vmid, asid, this.#range(words));
        break;
      case OPCODE.TLBI_NH_VAA:
        tlb.dropRangeOfAll(WORLD.nsEl1, vmid, this.#range(words));
        break;
      default:
        this.#invalidateEl2(opcode, words, asid);
    }
  }

  #invalidateEl2(opcode: number, words: ArrayLike<number>, asid: number): void {
    const { tlb } = this.#parts;
    for (const world of [WORLD.el2, WORLD.el2E2h]) {
      switch (opcode) {
        case OPCODE.TLBI_EL2_ALL:
          tlb.dropWorld(world);
          break;
        case OPCODE.TLBI_EL2_ASID:
          tlb.dropAsid(world, 0, asid);
          break;
        case OPCODE.TLBI_EL2_VA:
          tlb.dropRange(world, 0, asid, this.#range(words));
          break;
        case OPCODE.TLBI_EL2_VAA:
          tlb.dropRangeOfAll(world, 0, this.#range(words));
          break;
        default:
        // Stage-2 translations, address prefetches and stalls: there is nothing to drop.
      }
    }
  }

  /** Source: SMMUv3 §4.4.1.1. */
  #range(words: ArrayLike<number>): InvalidationRange {
    const page = getField(words, COMMAND.page);
    const granule = this.#parts.id.rangeInvalidation ? ([0, 12, 14, 16][getField(words, COMMAND.tg)] ?? 0) : 0;
    if (granule === 0) {
      return { page, count: 1, level: 0 };
    }
    const granules = (getField(words, COMMAND.num) + 1) * 2 ** getField(words, COMMAND.scale);
    return { page, count: granules * 2 ** (granule - 12), level: getField(words, COMMAND.ttl) };
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
