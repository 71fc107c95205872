/** What a look-up met on its way through the tables. One object per unit, reused. */
export class Trail {
  /** Fault code, 0 = none. */
  fault = 0;
  /** An FPD bit was 1: qualified faults are not recorded. */
  faultDisable = false;
  /** Address of the entry read last. */
  line = 0;

  /** Before a request. */
  start(): void {
    this.fault = 0;
    this.faultDisable = false;
    this.line = 0;
  }

  /** Ends the look-up. @returns undefined, for the caller to return */
  fail(code: number): undefined {
    this.fault = code;
    return undefined;
  }
}
