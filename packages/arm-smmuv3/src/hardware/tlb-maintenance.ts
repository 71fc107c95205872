import { getField } from "@iommu-lab/core";
import { COMMAND, OPCODE } from "../layout/command.ts";
import type { Identification } from "../layout/id-registers.ts";
import { type InvalidationRange, type IoTlb, NO_ASID } from "./io-tlb.ts";
import { WORLD } from "./world.ts";

const VMIDS = 2 ** 16;
const NS_EL1 = WORLD.nsEl1 * VMIDS;
const STAGE2 = WORLD.stage2 * VMIDS;

/**
 * TLB maintenance: what TLBI commands, and the broadcasts of CPUs, drop.
 *
 * Source: SMMUv3 §4.4, §3.17.
 */
export class TlbMaintenance {
  readonly #tlb: IoTlb;
  readonly #id: Identification;

  constructor(tlb: IoTlb, id: Identification) {
    this.#tlb = tlb;
    this.#id = id;
  }

  /** Executes a TLBI command that was found legal; of other opcodes nothing is dropped. */
  execute(words: ArrayLike<number>): void {
    const tlb = this.#tlb;
    const opcode = getField(words, COMMAND.opcode);
    const vmid = this.#id.stage2 ? getField(words, COMMAND.vmid) % 2 ** this.#id.vmidBits : 0;
    const asid = getField(words, COMMAND.asid);
    switch (opcode) {
      case OPCODE.TLBI_NH_ALL:
        tlb.dropWorld(WORLD.nsEl1, vmid);
        break;
      case OPCODE.TLBI_S12_VMALL:
        tlb.dropWorld(WORLD.nsEl1, vmid);
        tlb.dropWorld(WORLD.stage2, vmid);
        break;
      case OPCODE.TLBI_NSNH_ALL:
        tlb.dropWorld(WORLD.nsEl1);
        tlb.dropWorld(WORLD.stage2);
        break;
      case OPCODE.TLBI_NH_ASID:
        tlb.dropAsid(NS_EL1 + vmid, asid);
        break;
      case OPCODE.TLBI_NH_VA:
        tlb.dropRange(NS_EL1 + vmid, asid, this.#range(words));
        break;
      case OPCODE.TLBI_NH_VAA:
        tlb.dropRangeOfAll(NS_EL1 + vmid, this.#range(words));
        break;
      case OPCODE.TLBI_S2_IPA:
        // Translations of both stages in one stay: software drops them by TLBI_NH_ALL or TLBI_NH_VAA.
        tlb.dropRange(STAGE2 + vmid, NO_ASID, this.#range(words));
        break;
      default:
        this.#el2(opcode, words, asid);
    }
  }

  /** A broadcast of a CPU: what contexts with ASET = 1 brought stays. */
  broadcast(words: ArrayLike<number>): void {
    this.#tlb.sparesUnshared = true;
    this.execute(words);
    this.#tlb.sparesUnshared = false;
  }

  #el2(opcode: number, words: ArrayLike<number>, asid: number): void {
    const tlb = this.#tlb;
    for (const world of [WORLD.el2, WORLD.el2E2h]) {
      const regime = world * VMIDS;
      switch (opcode) {
        case OPCODE.TLBI_EL2_ALL:
          tlb.dropWorld(world);
          break;
        case OPCODE.TLBI_EL2_ASID:
          tlb.dropAsid(regime, asid);
          break;
        case OPCODE.TLBI_EL2_VA:
          tlb.dropRange(regime, world === WORLD.el2 ? NO_ASID : asid, this.#range(words));
          break;
        case OPCODE.TLBI_EL2_VAA:
          tlb.dropRangeOfAll(regime, this.#range(words));
          break;
        default:
        // Not of the TLB.
      }
    }
  }

  /** Source: SMMUv3 §4.4.1.1. */
  #range(words: ArrayLike<number>): InvalidationRange {
    const page = getField(words, COMMAND.page);
    const leaf = getField(words, COMMAND.leaf) === 1;
    const granule = this.#id.rangeInvalidation ? ([0, 12, 14, 16][getField(words, COMMAND.tg)] ?? 0) : 0;
    if (granule === 0) {
      return { page, count: 1, level: 0, leaf };
    }
    const granules = (getField(words, COMMAND.num) + 1) * 2 ** getField(words, COMMAND.scale);
    return { page, count: granules * 2 ** (granule - 12), level: getField(words, COMMAND.ttl), leaf };
  }
}
