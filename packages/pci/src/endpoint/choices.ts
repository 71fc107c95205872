/** What the specification leaves to a function, and where two readings of it exist. Change them at any time. */
export interface Choices {
  /** Entries that the ATC can hold; the oldest leaves for a new one. `Infinity` at first. */
  atcCapacity: number;
  /**
   * What an Invalidate Request without PASID takes besides the entries of its range that have none: `everything` with a
   * PASID, or of those only the ones in its `range` (the older text, and the comment in Linux).
   */
  withoutPasid: "everything" | "range";
  /** What an Invalidate Request for less than the STU gets: it is rounded up, or refused. Source: PCIe 6.0 §10.3.1. */
  smallInvalidate: "round-up" | "UR";
  /** What an Invalidate Request gets while ATS Enable is 0: a completion, or UR as some devices give. */
  disabledInvalidate: "complete" | "UR";
  /** Whether the ATC empties when ATS Enable goes from 1 to 0 already. */
  clearOnDisable: boolean;
  /** Whether an access that a translation does not permit is sent Untranslated, or asks for the page by PRI. */
  onDenied: "untranslated" | "page-request";
  /** Whether its device carries requests between its own functions; undefined = when its ACS capability speaks of that. */
  routesInternally: boolean | undefined;
}

/** What most devices do, and the larger of two readings. */
export function usualChoices(): Choices {
  return {
    atcCapacity: Infinity,
    withoutPasid: "everything",
    smallInvalidate: "round-up",
    disabledInvalidate: "complete",
    clearOnDisable: false,
    onDenied: "untranslated",
    routesInternally: undefined,
  };
}

/** How Invalidate Completions go wrong on their way. All values at rest = they do not. */
export interface CompletionFaults {
  /** How many of the next completions are lost. */
  drop: number;
  /** Virtual time in ns by which each is late. */
  delay: number;
  /** How many copies more than one are sent. */
  duplicates: number;
  /** ITag to name instead of the right one, 0 … 31. */
  itag: number | undefined;
  /** CC to name instead of the right one, 1 … 8. */
  count: number | undefined;
}

/** Nothing goes wrong. */
export function noFaults(): CompletionFaults {
  return { drop: 0, delay: 0, duplicates: 0, itag: undefined, count: undefined };
}
