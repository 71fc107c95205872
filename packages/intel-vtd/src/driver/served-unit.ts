import type { ContextTables } from "./context-tables.ts";
import type { QueuedInvalidation } from "./queued-invalidation.ts";
import type { TableWriter } from "./table-writer.ts";
import type { IntelIommu } from "./unit.ts";

/** A unit and what the driver has built for it. */
export interface ServedUnit {
  readonly iommu: IntelIommu;
  /** The invalidation queue. */
  readonly queue: QueuedInvalidation;
  /** How entries are written. */
  readonly tables: TableWriter;
  /** Root and context tables. */
  readonly contexts: ContextTables;
}
