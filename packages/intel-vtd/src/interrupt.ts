/** Where a unit's own interrupts go: the CPUs that run its driver. */
export interface InterruptSink {
  /**
   * A message-signalled interrupt was written.
   *
   * @param address where, in bytes
   * @param data 16 bits of message data
   */
  message(address: number, data: number): void;
}
