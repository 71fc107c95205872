import type { DeviceSnapshot, DeviceView, LifecycleKind } from "@iommu-lab/truth";
import { compareCommands, compareViews } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";

const device = "0000:01:00.0";

const state: DeviceSnapshot = {
  driver: "virtio-pci",
  group: new Set([device]),
  type: "DMA",
  reserved: new Set(["0x00000000fee00000 0x00000000feefffff msi"]),
  ats: 0x8000,
  pasid: undefined,
  pri: undefined,
  acs: undefined,
  resetMethods: "flr",
  tables: new Map([["ste", [0xbn, 0x1000_00d6n]]]),
};
const view: DeviceView = {
  device,
  state,
  events: [
    { device, kind: "attach", text: "attach DMA (was none)" },
    { device, kind: "ats-on", text: "ATS on" },
  ],
  commands: [{ device, opcodes: ["CFGI_STE", "SYNC"] }],
};
const scope = {
  observable: new Set<LifecycleKind>(["attach", "ats-on", "ats-off"]),
  modelled: new Set([device, "0000:00:02.0"]),
};

function changed(change: Partial<DeviceSnapshot>): DeviceView {
  return { ...view, state: { ...state, ...change } };
}

describe("comparison of a device", () => {
  it("finds nothing between equals", () => {
    expect(compareViews(view, view, scope)).toStrictEqual([]);
  });

  it.each([
    ["driver", { driver: "none" }, "virtio-pci", "none"],
    ["group", { group: new Set([device, "0000:00:02.0"]) }, device, `0000:00:02.0 ${device}`],
    ["type", { type: "identity" }, "DMA", "identity"],
    ["reserved", { reserved: new Set<string>() }, "0x00000000fee00000 0x00000000feefffff msi", ""],
    ["ats", { ats: 0 }, "0x8000", "0x0000"],
    ["pasid", { pasid: 1 }, "absent", "0x0001"],
    ["pri", { pri: 1 }, "absent", "0x0001"],
    ["acs", { acs: 0x1d }, "absent", "0x001d"],
    ["table ste[1]", { tables: new Map([["ste", [0xbn, 0xd6n]]]) }, "0x00000000100000d6", "0x00000000000000d6"],
    ["table ste", { tables: new Map() }, "present", "absent"],
    ["table cd0", { tables: new Map([...state.tables, ["cd0", [0n]]]) }, "absent", "present"],
  ])("%s", (aspect, change, recorded, model) => {
    expect(compareViews(view, changed(change), scope)).toStrictEqual([{ device, aspect, recorded, model }]);
  });

  it("the order of events", () => {
    const swapped = { ...view, events: view.events.toReversed() };
    expect(compareViews(view, swapped, scope)).toStrictEqual([
      {
        device,
        aspect: "events",
        recorded: "attach DMA (was none) | ATS on",
        model: "ATS on | attach DMA (was none)",
      },
    ]);
  });

  it("leaves out what could not be seen, and members that the model does not have", () => {
    const silent = { ...view, events: [...view.events, { device, kind: "bind", text: "bind: 0" } as const] };
    expect(compareViews(view, silent, scope)).toStrictEqual([]);
    const larger = changed({ group: new Set([device, "0000:0b:01.0"]) });
    expect(compareViews(larger, view, scope)).toStrictEqual([]);
  });

  it("compares no state where the recording read none", () => {
    const unsampled = { ...view, state: undefined };
    expect(compareViews(unsampled, changed({ ats: 0 }), scope)).toStrictEqual([]);
    const absent = { ...view, state: "absent" } as const;
    expect(compareViews(absent, absent, scope)).toStrictEqual([]);
    expect(compareViews(view, absent, scope)).toStrictEqual([
      { device, aspect: "presence", recorded: "present", model: "absent" },
    ]);
    expect(compareViews(absent, view, scope)).toStrictEqual([
      { device, aspect: "presence", recorded: "absent", model: "present" },
    ]);
  });
});

describe("comparison of commands", () => {
  it("agrees, differs, or has nothing to say", () => {
    expect(compareCommands(view.commands, view.commands).verdict).toBe("agree");
    expect(compareCommands([], []).verdict).toBe("none");
    expect(compareCommands(view.commands, [{ device, opcodes: ["SYNC"] }])).toStrictEqual({
      verdict: "differ",
      differences: [{ device, aspect: "commands of attach 1", recorded: "CFGI_STE SYNC", model: "SYNC" }],
    });
    expect(compareCommands(view.commands, []).differences[0]?.model).toBe("no attach");
  });
});
