import { type Op, type PhysicalMemory, type Trace, type Words, hexWords, newWords, preempt } from "@iommu-lab/core";
import type { EntryKind } from "./entry-update.ts";
import { updateSteps } from "./entry-update.ts";

/** An entry of a structure that hardware reads. */
export interface EntryPlace {
  /** As the trace names the structure: `ste`, `cd`, `l1std`, `l1cd`. */
  readonly kind: string;
  readonly rid: number;
  /** SubstreamID of a context descriptor; undefined = requests without PASID. */
  readonly pasid?: number;
  readonly address: number;
  /** Size in 64-bit words. */
  readonly size: number;
}

/**
 * Stores into structures that hardware reads. Each 64-bit word is one store; another actor may work before each.
 *
 * Source: Linux 7.2 `entry_set()`.
 */
export class TableMemory {
  readonly #iommu: string;
  readonly #memory: PhysicalMemory;
  readonly #trace: Trace;

  constructor(iommu: string, memory: PhysicalMemory, trace: Trace) {
    this.#iommu = iommu;
    this.#memory = memory;
    this.#trace = trace;
  }

  /** The words of an entry. */
  read(place: EntryPlace): Words {
    const words = newWords(place.size);
    for (let index = 0; index < words.length; index += 1) {
      words[index] = this.#memory.load32(place.address + index * 4);
    }
    return words;
  }

  /**
   * Stores words of an entry that differ.
   *
   * @param first the first 64-bit word
   * @param describe the entry in a reader's words
   * @returns the `table:write` event, 0 when nobody listens; undefined when none differed
   */
  *store(
    place: EntryPlace,
    words: Words,
    first: number,
    count: number,
    describe: (words: Words) => string,
  ): Op<number | undefined> {
    const before = this.read(place);
    let changed = false;
    for (let word = first; word < first + count; word += 1) {
      const lo = words[word * 2] ?? 0;
      const hi = words[word * 2 + 1] ?? 0;
      if (before[word * 2] !== lo || before[word * 2 + 1] !== hi) {
        yield preempt;
        this.#memory.store64(place.address + word * 8, lo, hi);
        changed = true;
      }
    }
    return changed ? this.#report(place, before, describe) : undefined;
  }

  /**
   * Turns an entry into another one, step by step, and tells hardware after each step that changed something.
   *
   * Source: Linux 7.2 `arm_smmu_write_entry()`.
   */
  *update(
    place: EntryPlace,
    kind: EntryKind,
    target: Words,
    describe: (words: Words) => string,
    sync: () => Op<unknown>,
  ): Op<void> {
    for (const { words, first, count } of updateSteps(kind, this.read(place), target)) {
      const event = yield* this.store(place, words, first, count, describe);
      if (event === undefined) {
        continue;
      }
      this.#trace.enter(event);
      try {
        yield* sync();
      } finally {
        this.#trace.leave();
      }
    }
  }

  #report(place: EntryPlace, before: Words, describe: (words: Words) => string): number {
    if (!this.#trace.active) {
      return 0;
    }
    const after = this.read(place);
    const { kind, rid, pasid, address, size } = place;
    const event = this.#trace.emit("table:write", {
      iommu: this.#iommu,
      kind,
      rid,
      ...(pasid === undefined ? {} : { pasid }),
      address,
      before: hexWords(before),
      after: hexWords(after),
      decoded: describe(after),
    });
    this.#memory.noteWriter(address, event, size * 8);
    return event;
  }
}
