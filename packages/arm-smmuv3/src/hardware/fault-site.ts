import { EVENT_CLASS } from "../layout/event-record.ts";

/** Where a fault is, for the record. One object per SMMU; whoever finds a fault fills it in. */
export class FaultSite {
  /** The structure looked at last; of fetch events what could not be fetched. */
  address = 0;
  /** Stage 2 made it. */
  stage2 = false;
  /** One of `EVENT_CLASS`: what was being translated. */
  class: number = EVENT_CLASS.in;
  /** The intermediate address that stage 2 could not translate, in bytes. */
  ipa = 0;
  /** With CLASS = TT: the table was to be read, not updated. */
  tableRead = false;

  /** A fault of stage 1, or of nothing yet. */
  reset(): void {
    this.stage2 = false;
    this.class = EVENT_CLASS.in;
    this.ipa = 0;
    this.tableRead = false;
  }

  /** A fault of stage 2. */
  inStage2(kind: number, ipa: number, tableRead: boolean): void {
    this.stage2 = true;
    this.class = kind;
    this.ipa = ipa;
    this.tableRead = tableRead;
  }
}
