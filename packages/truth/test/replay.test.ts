import type { PhaseReport } from "@iommu-lab/truth";
import { committedExplanations, parseRecording, replay } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";
import { cases, read } from "./support/recordings.ts";

type Json = Record<string, unknown>;

interface Document {
  phases: Json[];
}

/** Replays a committed recording, changed first. */
function play(name: string, change: (document: Document) => void = () => {}): readonly PhaseReport[] {
  const document = JSON.parse(read(`${name}.json`)) as Document;
  change(document);
  const recording = parseRecording(JSON.stringify(document), `${name}.json`);
  const file = `${name}.lspci-xxxx.txt`;
  return replay(recording, { text: read(file), file }, committedExplanations());
}

const reports: ReadonlyMap<string, readonly PhaseReport[]> = new Map(cases.map((name) => [name, play(name)]));

/** What every recording must have been played through. */
const required = [
  "boot",
  "drivers-load",
  "unbind:vnet_ats",
  "rebind:vnet_ats",
  "type-bound:vnet_ats:identity",
  "type-bound:vnet_ats:DMA-FQ",
  "type-unbind:vnet_ats",
  "type-unbound:vnet_ats:DMA",
  "type-unbound:vnet_ats:identity",
  "type-unbound:vnet_ats:DMA-FQ",
  "type-unbound:vnet_ats:auto",
  "type-unbound:vnet_ats:blocked",
  "set-identity-before-bind:vnet_ats",
  "bind-in-identity:vnet_ats",
  "reset-in-identity:vnet_ats",
  "back-to-auto:vnet_ats",
  "type-multi:mf:none-bound",
  "reset-default-bound:vnet_ats",
  "reset-unbound:vnet_ats:flr",
  "remove:vnet_ats",
  "rescan:vnet_ats",
  "remove:mf1",
  "rescan:mf1",
  "remove:rp6",
];

describe.each(cases)("%s", (name) => {
  const phases = reports.get(name) ?? [];

  it.each(
    phases.filter((phase) => phase.verdict !== "not yet").map((phase) => [phase.index, phase.name, phase] as const),
  )("phase %i %s: the model does what the kernel did", (_index, _name, phase) => {
    expect(phase.differences.filter((difference) => difference.cause === undefined)).toStrictEqual([]);
    expect(phase.verdict).not.toBe("differ");
  });

  it("plays every phase of the attach, type and reset lifecycles", () => {
    const played = new Set(phases.filter((phase) => phase.verdict !== "not yet").map((phase) => phase.name));
    expect(required.filter((one) => !played.has(one))).toStrictEqual([]);
  });

  it("says why a phase is not played", () => {
    const silent = phases.filter((phase) => phase.verdict === "not yet" && phase.reason === undefined);
    expect(silent).toStrictEqual([]);
  });
});

it("no explanation outlives its difference", () => {
  const given = new Set([...reports.values()].flat().flatMap((phase) => phase.differences.map(({ cause }) => cause)));
  expect(committedExplanations().filter(({ cause }) => !given.has(cause))).toStrictEqual([]);
});
