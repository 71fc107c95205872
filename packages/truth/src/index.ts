/**
 * Recordings of real kernels, and what they demand of a model.
 *
 * @packageDocumentation
 */
export { type AttachCommands, type Opcode, opcodeOf, recordedCommands, sameOpcodes } from "./commands.ts";
export { type DeviceSnapshot, type DeviceView, type PhaseExpectation, expectations, snapshot } from "./expectation.ts";
export { JsonField } from "./json-field.ts";
export { type LifecycleEvent, type LifecycleKind, condense, observableKinds, recordedLifecycle } from "./lifecycle.ts";
export { type WordMask, formatWord, maskTables, maskWord, maskWords, masksOf } from "./mask.ts";
export { type PhaseOutput, parseOutput } from "./phase-output.ts";
export {
  type Phase,
  RECORDING_SCHEMA,
  type RecordedEvent,
  type Recording,
  parseRecording,
  schemaOf,
} from "./recording.ts";
export {
  type ControlWord,
  type RecordedDevice,
  type RecordedGroup,
  type RecordedState,
  type TableWords,
  readState,
} from "./state.ts";
export { type TableKind, standingTexts, tableText } from "./table-text.ts";
export { type CommandVerdict, type Difference, type Scope, compareCommands, compareViews } from "./compare.ts";
export { type DifferencePlace, type Explanation, explanationOf, parseExplanations } from "./explained.ts";
export { topologyOf } from "./topology.ts";
export { type Output, runCommand } from "./cli.ts";
export { type Machine, buildMachine } from "./machine.ts";
export {
  type ComparedRegister,
  MachineReader,
  type TableReader,
  readAmdVi,
  readSmmuv3,
  readVtd,
} from "./machine-reader.ts";
export { type Observed, Observer } from "./observe.ts";
export { type PhaseName, phaseName, planPhase } from "./phases.ts";
export { type Kernel, type Plan, type Start } from "./plan.ts";
export { type Dump, replay } from "./replay.ts";
export {
  type Colors,
  type FileReport,
  type PhaseReport,
  type ReportedDifference,
  type TruthReport,
  type Verdict,
  exitCode,
  formatReport,
  summarize,
} from "./report.ts";
export { RECORDINGS, committedExplanations, runTruth } from "./run.ts";
