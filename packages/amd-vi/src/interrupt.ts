/** Where a unit's interrupts go. */
export interface InterruptLine {
  /** The unit signals that a log or a completion wants attention. */
  raise(): void;
}
