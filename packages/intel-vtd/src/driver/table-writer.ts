import { type Op, type Words, hexWords, preempt } from "@iommu-lab/core";
import { describeContextEntry } from "../layout/context-entry.ts";
import { describePasidDirectoryEntry, describePasidEntry } from "../layout/pasid-entry.ts";
import { describeRootEntry } from "../layout/root-entry.ts";
import { describeScalableContext } from "../layout/scalable-context-entry.ts";
import type { IntelIommu } from "./unit.ts";

/** Which entry of which structure is written. */
export interface EntryPlace {
  readonly kind: "vtd-root" | "vtd-context" | "vtd-pasid-directory" | "vtd-pasid";
  readonly rid: number;
  /** Of a PASID entry or directory entry; 0 = requests without PASID. */
  readonly pasid?: number;
  readonly address: number;
  /** Length in qwords. */
  readonly qwords: number;
}

/**
 * Writes entries of the tables that hardware reads, each change as one event. The present bit is set last and cleared
 * first, and each store that hardware can see may be preceded by another actor's work.
 */
export class TableWriter {
  readonly #unit: IntelIommu;

  constructor(unit: IntelIommu) {
    this.#unit = unit;
  }

  /** The words of an entry. */
  read(place: EntryPlace): Words {
    const words = new Uint32Array(place.qwords * 2);
    for (let index = 0; index < words.length; index += 1) {
      words[index] = this.#unit.memory.load32(place.address + index * 4);
    }
    return words;
  }

  /** Whether bit 0 of an entry is set. */
  present(place: EntryPlace): boolean {
    return (this.#unit.memory.load32(place.address) & 1) !== 0;
  }

  /** Fills an entry that is not present: all fields, then the present bit. */
  *install(place: EntryPlace, words: Words): Op<void> {
    const before = this.read(place);
    this.#store(place, words, (words[0] ?? 0) & ~1);
    yield preempt;
    this.#store(place, words, words[0] ?? 0);
    this.#report(place, before);
  }

  /** Changes fields of the first qword of a present entry in one store. */
  *rewrite(place: EntryPlace, words: Words): Op<void> {
    const before = this.read(place);
    yield preempt;
    this.#store(place, words, words[0] ?? 0);
    this.#report(place, before);
  }

  /** Clears the present bit and leaves the fields. */
  *clearPresent(place: EntryPlace): Op<void> {
    const before = this.read(place);
    yield preempt;
    this.#store(place, before, (before[0] ?? 0) & ~1);
    this.#report(place, before);
  }

  /** Clears the whole entry. */
  *zero(place: EntryPlace): Op<void> {
    const before = this.read(place);
    yield preempt;
    const zeros = new Uint32Array(place.qwords * 2);
    this.#store(place, zeros, 0);
    this.#report(place, before);
  }

  /** Stores the qwords, the first one last and with another low half. */
  #store(place: EntryPlace, words: Words, low: number): void {
    const { memory } = this.#unit;
    for (let qword = place.qwords - 1; qword >= 0; qword -= 1) {
      const lo = qword === 0 ? low : (words[qword * 2] ?? 0);
      memory.store64(place.address + qword * 8, lo >>> 0, words[qword * 2 + 1] ?? 0);
    }
  }

  #report(place: EntryPlace, before: Words): void {
    const { memory, trace, name, scalable } = this.#unit;
    if (!trace.active) {
      return;
    }
    const after = this.read(place);
    const event = trace.emit("table:write", {
      iommu: name,
      kind: place.kind,
      rid: place.rid,
      ...(place.pasid === undefined ? {} : { pasid: place.pasid }),
      address: place.address,
      before: hexWords(before),
      after: hexWords(after),
      decoded: describe(place, after, scalable),
    });
    memory.noteWriter(place.address, event, place.qwords * 8);
  }
}

function describe({ kind }: EntryPlace, words: Words, scalable: boolean): string {
  if (kind === "vtd-root") {
    return describeRootEntry(words, scalable);
  }
  if (kind === "vtd-context") {
    return scalable ? describeScalableContext(words) : describeContextEntry(words);
  }
  return kind === "vtd-pasid" ? describePasidEntry(words) : describePasidDirectoryEntry(words);
}
