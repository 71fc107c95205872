/** What a request needs of a page: nothing (a Translation Request takes what there is), to read, or to write. */
export type Need = "none" | "read" | "write";

/** Whether permissions are not enough for a need. */
export function lacks(need: Need, read: boolean, write: boolean): boolean {
  return (need === "read" && !read) || (need === "write" && !write);
}

/** How a walk through page tables ended. */
export type WalkEnd =
  /** A page was found. */
  | "found"
  /** An entry refused: IO_PAGE_FAULT with {@link Walk.flags}. */
  | "fault"
  /** An entry could not be read: PAGE_TAB_HARDWARE_ERROR. */
  | "hardware";

/** What a walk found. One object per walker, reused. */
export class Walk {
  end: WalkEnd = "found";
  /** Host page number of the page asked for. */
  page = 0;
  /** log2 of the size of the translation in bytes. */
  sizeLog2 = 12;
  /** Reads are allowed by all entries. */
  read = false;
  /** Writes are allowed by all entries. */
  write = false;
  /** Instruction fetches are allowed by all entries. */
  execute = false;
  /** FC of the host leaf, or N of the guest leaf through SnoopAttribute. */
  forceCoherent = false;
  /** U of the host leaf. */
  untranslatedOnly = false;
  /** A write needs no update of D. */
  dirty = false;
  /** Flags of the event: PR, RZ, PE, NX. */
  flags = 0;
  /** Address of the entry read last. */
  line = 0;

  /** Before a walk. */
  start(): void {
    this.end = "found";
    this.page = 0;
    this.sizeLog2 = 12;
    this.read = true;
    this.write = true;
    this.execute = true;
    this.forceCoherent = false;
    this.untranslatedOnly = false;
    this.dirty = true;
    this.flags = 0;
    this.line = 0;
  }

  /** Ends it with a fault. @returns false */
  fault(flags: number): false {
    this.end = "fault";
    this.flags = flags;
    return false;
  }

  /** Ends it because memory does not answer. @returns false */
  hardware(): false {
    this.end = "hardware";
    return false;
  }
}

const HALF = 2 ** 27;

/** The index of a page in the table of a level; `%` on numbers above 2^31 would be slow. */
export function tableIndex(page: number, level: number): number {
  const high = Math.floor(page / HALF);
  return level < 4 ? ((page - high * HALF) >>> (9 * (level - 1))) & 511 : (high >>> (9 * (level - 4))) & 511;
}
