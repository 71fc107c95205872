import type { TraceEvent } from "@iommu-lab/core";
import type { Cell } from "../cell.ts";

/** Counts the Invalidate Requests of a slice of a trace, and what became of them. */
export function invalidationsIn(events: readonly TraceEvent[]): Cell["invalidations"] {
  let sent = 0;
  let answered = 0;
  let dropped = 0;
  let timedOut = 0;
  for (const event of events) {
    if (event.type === "tlp" && event.kind === "invalidate-request") {
      sent += 1;
    } else if (event.type === "tlp" && event.kind === "invalidate-completion") {
      answered += 1;
    } else if (event.type === "atc" && event.what === "drop") {
      dropped += 1;
    } else if (event.type === "invalidate:timeout") {
      timedOut += 1;
    }
  }
  return { sent, answered, dropped, timedOut };
}
