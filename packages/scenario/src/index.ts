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
  Cell,
  HonestReach,
  HostileReach,
  MsiOutcome,
  TranslatedOutcome,
  TranslationOutcome,
  UntranslatedOutcome,
} from "./cell.ts";
export { type DeviceUnderTest, accelerator, deviceFromDump, nic } from "./devices.ts";
export { type Measured, measure } from "./probe/measure.ts";
export { type Played, type StepOutcome, play, replay, take } from "./probe/play.ts";
export type { Answer, Manner, Question } from "./probe/question.ts";
export { type Snapshot, snapshot } from "./probe/snapshot.ts";
export type { Scenario, Step } from "./scenario.ts";
export { type ResetPhase, Stage, type Subject } from "./stage.ts";
