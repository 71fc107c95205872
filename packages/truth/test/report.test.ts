import type { FileReport, PhaseReport, Verdict } from "@iommu-lab/truth";
import { exitCode, formatReport, summarize } from "@iommu-lab/truth";
import pc from "picocolors";
import { describe, expect, it } from "vitest";

function phase(verdict: Verdict, change: Partial<PhaseReport> = {}): PhaseReport {
  return {
    index: 1,
    name: `phase-${verdict}`,
    verdict,
    reason: undefined,
    prepared: [],
    differences: [],
    commands: "none",
    ...change,
  };
}

function file(...phases: PhaseReport[]): FileReport {
  return { file: "x.json", reason: undefined, error: undefined, phases };
}

const difference = { device: "0000:01:00.0", role: "vnet_ats", aspect: "ats", recorded: "0x8000", model: "0x0000" };

describe("report", () => {
  it("adds up, and only unexplained differences fail", () => {
    const explained = phase("explained", { differences: [{ ...difference, cause: "an erratum" }] });
    const differ = phase("differ", { differences: [{ ...difference, cause: undefined }] });
    const good = summarize([
      file(phase("agree", { commands: "agree" }), explained, phase("not yet", { reason: "why" })),
    ]);
    expect(good.totals).toStrictEqual({ agree: 1, explained: 1, differ: 0, "not yet": 1 });
    expect(good.commands).toStrictEqual({ agree: 1, differ: 0, none: 1 });
    expect(exitCode(good)).toBe(0);
    expect(exitCode(summarize([file(differ)]))).toBe(1);
    expect(exitCode(summarize([{ ...file(), error: "damaged" }, file(differ)]))).toBe(2);
    expect(summarize([{ ...file(), reason: "another kernel" }]).totals["not yet"]).toBe(1);
  });

  it("prints cause, preparation and commands", () => {
    const text = formatReport(
      summarize([
        file(
          phase("explained", {
            prepared: ["unbind", "type DMA"],
            differences: [{ ...difference, cause: "an erratum" }],
            commands: "differ",
          }),
        ),
      ]),
      pc.createColors(false),
    );
    expect(text).toBe(`x.json
  explained  phase-explained
             before it, unrecorded: unbind, type DMA
             vnet_ats 0000:01:00.0: ats
               recorded 0x8000
               model    0x0000
               because  an erratum
             commands differ

0 agree, 1 explained, 0 differ, 0 not yet
commands during attaches: 0 agree, 1 differ
`);
  });
});
