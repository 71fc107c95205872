/**
 * What happens to a device, step by step, and the probe that measures it.
 *
 * @packageDocumentation
 */
export { atsLifecycle } from "./ats-lifecycle.ts";
export { type Backend, type NamedPolicy, type SubjectOptions, subject } from "./backend.ts";
export type {
  AccessOutcome,
  AtcEntryReport,
  AtsReport,
  BeliefReport,
  Cell,
  EnableReport,
  HonestReach,
  HostileReach,
  InvalidationCounts,
  MsiOutcome,
  ReachReport,
  TranslatedOutcome,
  TranslationOutcome,
  UntranslatedOutcome,
} from "./cell.ts";
export { type DeviceUnderTest, accelerator, deviceFromDump, nic } from "./devices.ts";
export { type Measured, measure } from "./probe/measure.ts";
export { type Played, type StepOutcome, play, replay, take } from "./probe/play.ts";
export type { Scenario, Step } from "./scenario.ts";
export { type ResetPhase, Stage, type Subject } from "./stage.ts";
