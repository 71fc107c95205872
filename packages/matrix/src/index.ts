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
  type Named,
  cellAt,
  compare,
} from "./comparison.ts";
export { type TableStyle, type View, cellText, defaultViews, formatMarkdown, formatTable, views } from "./table.ts";
