import type { Words } from "@iommu-lab/core";

/** What the driver knows of a kind of entry: which bits hardware looks at, which may change at any time. */
export interface EntryKind {
  /** Bits that hardware looks at in this value. Same size as the entry. */
  used(entry: Words): Words;
  /** Bits that may change at any time because their order is kept elsewhere. Absent = none. */
  safe?(current: Words, target: Words): Words;
}

/** Stores the words `first … first + count - 1` of `words`; hardware is told when one of them changed. */
export interface UpdateStep {
  readonly words: Words;
  /** First 64-bit word. */
  readonly first: number;
  readonly count: number;
}

const QWORDS = 8;

/** The value in which all bits that hardware does not look at are changed already, and the words that still differ. */
function prepare(kind: EntryKind, current: Words, target: Words): { unused: Words; differing: number[] } {
  const used = kind.used(current);
  const targetUsed = kind.used(target);
  const safe = kind.safe?.(current, target);
  const unused = new Uint32Array(target.length);
  const differing: number[] = [];
  for (let index = 0; index < target.length; index += 1) {
    const free = (safe?.[index] ?? 0) & (targetUsed[index] ?? 0) & (used[index] ?? 0);
    const kept = (used[index] ?? 0) & ~free;
    unused[index] = ((current[index] ?? 0) & kept) | ((target[index] ?? 0) & ~kept);
    const seen = ((unused[index] ?? 0) & (targetUsed[index] ?? 0)) >>> 0;
    const qword = index >>> 1;
    if (seen !== target[index] && differing.at(-1) !== qword) {
      differing.push(qword);
    }
  }
  return { unused, differing };
}

/** The words of one value with one 64-bit word of another. */
function withQword(words: Words, qword: number, from: ArrayLike<number>): Words {
  const out = words.slice();
  out[qword * 2] = from[qword * 2] ?? 0;
  out[qword * 2 + 1] = from[qword * 2 + 1] ?? 0;
  return out;
}

/**
 * The steps that turn an entry which hardware may read at any time into another one. When the used bits of one 64-bit
 * word alone differ, hardware sees the old or the new entry and nothing else (hitless); otherwise the entry is invalid in
 * between.
 *
 * Source: Linux 7.2 `arm_smmu_write_entry()`, `arm_smmu_entry_qword_diff()`.
 */
export function updateSteps(kind: EntryKind, current: Words, target: Words): readonly UpdateStep[] {
  const { unused, differing } = prepare(kind, current, target);
  const whole = { words: target, first: 0, count: QWORDS };
  const [critical] = differing;
  if (critical === undefined) {
    return [whole];
  }
  if (differing.length === 1) {
    return [
      { words: withQword(unused, critical, current), first: 0, count: QWORDS },
      { words: target, first: critical, count: 1 },
      whole,
    ];
  }
  return [
    { words: withQword(unused, 0, [0, 0]), first: 0, count: 1 },
    { words: target, first: 1, count: QWORDS - 1 },
    { words: target, first: 0, count: 1 },
  ];
}
