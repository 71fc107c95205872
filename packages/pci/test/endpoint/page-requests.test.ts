import { type EndpointOptions, NO_PASID, type PageRequestOptions, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, nic } from "../support.ts";

const PAGE = 0x55;
const last: PageRequestOptions = { read: true, write: false, last: true, groupIndex: 7 };
const ENABLE = 1;
const RESET = 2;
const RESPONSE_FAILURE = 1;
const UNEXPECTED = 2;
const STOPPED = 0x100;

class PriMachine extends Machine {
  constructor(pri: EndpointOptions["pri"] = { capacity: 4 }) {
    super(
      pciTopology({
        rootPorts: [
          { bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: { ...nic, ...(pri === undefined ? {} : { pri }) } } },
        ],
      }),
    );
  }

  get at(): number {
    return this.nic.config.findExtendedCapability(0x13);
  }

  control(value: number): void {
    this.nic.writeConfig(this.at + 4, 2, value);
  }

  allocate(count: number): void {
    this.nic.writeConfig(this.at + 12, 4, count);
  }

  get status(): number {
    return this.nic.readConfig(this.at + 6, 2) & 0x7fff;
  }

  respond(groupIndex: number, code: number, pasid: number = NO_PASID): void {
    this.fabric.sendPageResponse(this.iommu, NIC, pasid, groupIndex, code);
  }
}

function enabled(allocation: number = 4, pri?: EndpointOptions["pri"]): PriMachine {
  const machine = new PriMachine(pri);
  machine.setPasid(true);
  machine.allocate(allocation);
  machine.control(ENABLE);
  return machine;
}

describe("credits", () => {
  test("are the allocation, at most the capacity, and a response to the group frees all of it", () => {
    const machine = enabled(100);
    for (let page = 0; page < 4; page += 1) {
      expect(machine.nic.pageRequest(page, NO_PASID, { ...last, last: page === 3 }).sent).toBe(true);
    }
    expect(machine.nic.pageRequest(9, NO_PASID, { ...last, groupIndex: 8 }).reason).toBe(
      "no page request credit is left",
    );
    machine.respond(7, 0);
    expect(machine.nic.pageRequest(9, NO_PASID, { ...last, groupIndex: 8 }).sent).toBe(true);
  });

  test("a stop marker costs none, needs a PASID and gets no response", () => {
    const machine = enabled(1);
    const marker: PageRequestOptions = { read: false, write: false, last: true, groupIndex: 0 };
    machine.nic.pageRequest(PAGE, 1, last);
    expect(machine.nic.pageRequest(0, 1, marker)).toMatchObject({ sent: true, delivery: "delivered" });
    expect(machine.iommu.pageRequests.at(-1)).toMatchObject({ pasid: 1, ...marker });
    expect(machine.nic.pageRequest(0, NO_PASID, marker).reason).toBe("a stop marker needs a PASID");
    machine.respond(0, 0, 1);
    expect(machine.status & UNEXPECTED).toBe(UNEXPECTED);
  });

  test("a function that does not obey sends beyond its allocation and while stopped", () => {
    const machine = enabled(1);
    machine.nic.obeys.priEnable = false;
    machine.control(0);
    for (let page = 0; page < 3; page += 1) {
      expect(machine.nic.pageRequest(page, NO_PASID, last).sent).toBe(true);
    }
    expect(machine.iommu.pageRequests).toHaveLength(3);
  });
});

describe("groups", () => {
  test("one response for each, after the request with L; a group of one PASID", () => {
    const machine = enabled();
    machine.nic.pageRequest(PAGE, 1, { ...last, last: false });
    machine.respond(7, 0, 1);
    expect(machine.status & UNEXPECTED).toBe(UNEXPECTED);
    expect(machine.nic.pageResponses).toEqual([]);
    expect(machine.nic.pageRequest(PAGE, 2, last).reason).toBe("the group is of another PASID");
    machine.nic.pageRequest(PAGE + 1, 1, last);
    expect(machine.nic.pageRequest(PAGE + 2, 1, last).reason).toBe("the group waits for its response");
    machine.respond(7, 1, 1);
    expect(machine.nic.pageResponses).toEqual([{ groupIndex: 7, code: 1 }]);
    expect(machine.nic.pageRequest(PAGE + 2, 2, last).sent).toBe(true);
  });

  test("the PASID of a response counts where PRG Response PASID Required is 1", () => {
    for (const [responsePasidRequired, taken] of [
      [true, 0],
      [false, 1],
    ] as const) {
      const machine = enabled(4, { capacity: 4, responsePasidRequired });
      machine.nic.pageRequest(PAGE, 1, last);
      machine.respond(7, 0, NO_PASID);
      expect(machine.nic.pageResponses).toHaveLength(taken);
      expect(machine.status & UNEXPECTED).toBe(taken === 1 ? 0 : UNEXPECTED);
    }
  });

  test("Execute and Privileged travel with the request as PASID Control permits", () => {
    const machine = enabled();
    expect(machine.nic.pageRequest(PAGE, 1, { ...last, execute: true }).reason).toBe("Execute Permission Enable is 0");
    machine.nic.writeConfig(machine.nic.config.findExtendedCapability(0x1b) + 6, 2, 7);
    machine.nic.pageRequest(PAGE, 1, { ...last, execute: true, privileged: true });
    expect(machine.iommu.pageRequests).toMatchObject([{ execute: true, privileged: true }]);
  });
});

describe("a response failure", () => {
  test.each([2, 14, 15])("code %i stops the interface; later responses are ignored", (code) => {
    const machine = enabled();
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    machine.nic.pageRequest(PAGE, NO_PASID, { ...last, groupIndex: 8 });
    machine.respond(7, code);
    expect(machine.status).toBe(RESPONSE_FAILURE | STOPPED);
    machine.respond(8, 0);
    machine.respond(9, 0);
    expect(machine.status).toBe(RESPONSE_FAILURE | STOPPED);
    expect(machine.nic.pageResponses).toEqual([{ groupIndex: 7, code }]);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last).reason).toBe("the page request interface has stopped");
  });

  test("lasts through Enable off and on, until PRI Reset with Enable off", () => {
    const machine = enabled();
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    machine.respond(7, 15);
    machine.control(0);
    machine.control(ENABLE);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last).sent).toBe(false);
    machine.control(ENABLE | RESET);
    expect(machine.status & RESPONSE_FAILURE).toBe(RESPONSE_FAILURE);
    machine.control(0);
    machine.control(RESET);
    expect(machine.status).toBe(STOPPED);
    machine.control(ENABLE);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, last).sent).toBe(true);
  });
});

describe("Enable and resets", () => {
  test("1 to 0 stops the interface when the last response is in", () => {
    const machine = enabled();
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    machine.control(0);
    expect(machine.status & STOPPED).toBe(0);
    machine.respond(7, 0);
    expect(machine.status & STOPPED).toBe(STOPPED);
  });

  test("PRI Reset with Enable off forgets what waits; with Enable on it does nothing", () => {
    const machine = enabled(1);
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    machine.control(ENABLE | RESET);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, { ...last, groupIndex: 1 }).sent).toBe(false);
    machine.control(0);
    machine.control(RESET);
    expect(machine.status & STOPPED).toBe(STOPPED);
    machine.control(ENABLE);
    expect(machine.nic.pageRequest(PAGE, NO_PASID, { ...last, groupIndex: 1 }).sent).toBe(true);
  });

  test("a reset of the function forgets groups: their responses come unexpected", () => {
    const machine = enabled();
    machine.nic.pageRequest(PAGE, NO_PASID, last);
    machine.nic.reset("conventional");
    expect(machine.status).toBe(STOPPED);
    machine.respond(7, 0);
    expect(machine.status).toBe(STOPPED | UNEXPECTED);
    expect(machine.nic.pageResponses).toEqual([]);
  });
});

test("an access that is denied may ask for its page instead", () => {
  const machine = enabled();
  machine.setAts(true);
  machine.nic.choices.onDenied = "page-request";
  expect(machine.nic.dmaWrite(PAGE, 0, 1)).toMatchObject({ sent: false, reason: "the page is asked for" });
  expect(machine.iommu.pageRequests).toMatchObject([{ page: PAGE, read: false, write: true, last: true }]);
  machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: true });
  machine.respond(0, 0);
  expect(machine.nic.dmaWrite(PAGE, 0, 1).status).toBe("success");
});
