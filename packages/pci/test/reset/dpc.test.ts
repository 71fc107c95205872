import { describe, expect, test } from "vitest";
import { ResetLab } from "./lab.ts";

const TRIGGERED = 1;

function contained(control: number): { lab: ResetLab; told: string[]; status: () => number } {
  const lab = new ResetLab();
  const at = lab.portAt(0x1d, true);
  lab.writePort(at + 6, 2, control);
  const told: string[] = [];
  lab.dpc.onTrigger((notification, trigger) => told.push(`${trigger} by ${notification}`));
  return { lab, told, status: () => lab.readPort(at + 8) };
}

describe("what triggers containment", () => {
  test.each([
    ["uncorrectable", 0, [false, false]],
    ["uncorrectable", 1, [true, false]],
    ["fatal-message", 1, [true, false]],
    ["non-fatal-message", 1, [false, false]],
    ["non-fatal-message", 2, [true, false]],
    ["fatal-message", 2, [true, false]],
  ] as const)("%s with Trigger Enable %i", (trigger, enable, triggered) => {
    const { lab } = contained(enable);
    // Once triggered, a second error changes nothing.
    expect([lab.dpc.report(trigger, 0x100), lab.dpc.report(trigger, 0x100)]).toEqual(triggered);
    expect(lab.link.state).toBe(triggered[0] ? "down" : "up");
  });

  test.each([
    ["uncorrectable", 0x1f01, 0],
    ["non-fatal-message", 0x1f03, 0x100],
    ["fatal-message", 0x1f05, 0x100],
  ] as const)("%s: Trigger Reason and Error Source ID", (trigger, word, source) => {
    const { lab, status } = contained(2);
    lab.dpc.report(trigger, 0x100);
    expect(status()).toBe(word);
    expect(lab.readPort(lab.portAt(0x1d, true) + 0xa)).toBe(source);
  });

  test("software: the control bit triggers and reads as 0, whatever Trigger Enable says", () => {
    const { lab, status } = contained(0);
    const at = lab.portAt(0x1d, true);
    lab.writePort(at + 6, 2, 0x40);
    expect(lab.readPort(at + 6)).toBe(0);
    expect(status() & 0x67).toBe(0x27);
    expect(lab.nic.resetting).toBe(true);
  });
});

describe("how it tells", () => {
  test.each([
    ["an interrupt", 0x09, ["fatal-message by interrupt"], 8],
    ["ERR_COR, for firmware (EDR)", 0x11, ["fatal-message by err-cor"], 0],
    ["nothing", 0x01, ["fatal-message by none"], 0],
  ])("%s", (_name, control, expected, interrupt) => {
    const { lab, told, status } = contained(control);
    const recorder = lab.record();
    lab.dpc.report("fatal-message", 0x100);
    expect(told).toEqual(expected);
    expect(status() & 8).toBe(interrupt);
    // The link is down before anybody is told.
    const order = recorder.events.flatMap(({ type }) => (type.startsWith("reset:") ? [type] : []));
    expect(order).toEqual(["reset:dpc", "reset:link"]);
  });
});

describe("while contained and after", () => {
  test("the port stays contained until DPC Trigger Status is cleared; then the hardware answers again", () => {
    const { lab, status } = contained(1);
    lab.enableEverything();
    lab.dpc.report("fatal-message", 0x100);
    lab.pass(60_000);
    expect(lab.nic.readConfig(0, 4)).toBe(0xffffffff);
    expect(lab.invalidate()).toBe("lost");
    const at = lab.portAt(0x1d, true) + 8;
    lab.writePort(at, 2, 0);
    expect(status() & TRIGGERED).toBe(1);
    lab.writePort(at, 2, 1);
    expect(status() & TRIGGERED).toBe(0);
    lab.pass(120);
    expect(lab.nic.readConfig(0, 2)).toBe(0x1af4);
    expect(lab.state()).toMatchObject({ ats: false, atc: 0 });
    expect(lab.dpc.report("fatal-message", 0x100)).toBe(true);
  });

  test("a secondary bus reset meanwhile does not end it", () => {
    const { lab } = contained(1);
    lab.dpc.report("uncorrectable");
    lab.secondaryBusReset(true);
    lab.secondaryBusReset(false);
    lab.pass(1000);
    expect(lab.link.holds).toEqual(["dpc"]);
    expect(lab.nic.readConfig(0, 4)).toBe(0xffffffff);
  });
});
