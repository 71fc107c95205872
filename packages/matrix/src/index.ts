/**
 * Scenario by vendor by kernel: the measured comparison and its reporters.
 *
 * @packageDocumentation
 */
export {
  COMPARISON_SCHEMA,
  type Column,
  type CompareOptions,
  type Comparison,
  type MeasuredColumn,
  type Named,
  type PlannedColumn,
  assemble,
  cellAt,
  compare,
  measureColumn,
  planColumns,
} from "./comparison.ts";
export { type TableStyle, type View, cellText, defaultViews, formatMarkdown, formatTable, views } from "./table.ts";
