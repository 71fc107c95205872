import type { ExplainedGroup } from "./explain-groups.ts";

/** Groups that became other groups: the same functions before and after. */
export interface GroupChange {
  /** Groups before, each a list of addresses. */
  readonly before: readonly (readonly string[])[];
  /** Groups after. */
  readonly after: readonly (readonly string[])[];
}

/** A grouping of a machine. */
export interface Grouped {
  /** The groups, each with the addresses of its members. */
  readonly groups: readonly Pick<ExplainedGroup, "members">[];
}

/**
 * What differs between two groupings of one machine: each change is the smallest set of groups that hold the same functions on
 * both sides. Functions that have a group on one side only make a change of their own.
 */
export function groupChanges(before: Grouped, after: Grouped): readonly GroupChange[] {
  const left = before.groups.map(({ members }) => members);
  const right = after.groups.map(({ members }) => members);
  const rightOf = indexByMember(right);
  const leftOf = indexByMember(left);
  const changes: GroupChange[] = [];
  const seenLeft = new Set<number>();
  const seenRight = new Set<number>();
  const collect = (startLeft: readonly number[], startRight: readonly number[]): void => {
    const lefts = new Set<number>(startLeft);
    const rights = new Set<number>(startRight);
    // A Set's iteration also reaches what is added meanwhile, so both close over each other.
    for (let grown = true; grown;) {
      const size = lefts.size + rights.size;
      for (const index of lefts) {
        addAll(rights, left[index] ?? [], rightOf);
      }
      for (const index of rights) {
        addAll(lefts, right[index] ?? [], leftOf);
      }
      grown = lefts.size + rights.size > size;
    }
    lefts.forEach((index) => seenLeft.add(index));
    rights.forEach((index) => seenRight.add(index));
    const change = {
      before: [...lefts].map((index) => left[index] ?? []),
      after: [...rights].map((index) => right[index] ?? []),
    };
    if (!isSame(change)) {
      changes.push(change);
    }
  };
  for (const index of left.keys()) {
    if (!seenLeft.has(index)) {
      collect([index], []);
    }
  }
  for (const index of right.keys()) {
    if (!seenRight.has(index)) {
      collect([], [index]);
    }
  }
  return changes;
}

function indexByMember(groups: readonly (readonly string[])[]): ReadonlyMap<string, number> {
  return new Map(groups.flatMap((members, index) => members.map((member) => [member, index] as const)));
}

function addAll(into: Set<number>, members: readonly string[], indexOf: ReadonlyMap<string, number>): void {
  for (const member of members) {
    const index = indexOf.get(member);
    if (index !== undefined) {
      into.add(index);
    }
  }
}

function isSame({ before, after }: GroupChange): boolean {
  const [one = [], other = []] = [before[0], after[0]];
  return before.length === 1 && after.length === 1 && one.toSorted().join(" ") === other.toSorted().join(" ");
}
