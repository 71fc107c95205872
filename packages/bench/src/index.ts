/**
 * Benchmarks of the hot paths.
 *
 * @packageDocumentation
 */
export { dependentLoads } from "./dependent-loads.ts";
export { type Bench, type Timing, measure } from "./measure.ts";
export { suites } from "./suites.ts";
