import type { TraceEvent } from "@iommu-lab/core";
import {
  ACS_CR,
  ACS_DT,
  ACS_EC,
  ACS_RR,
  ACS_SV,
  ACS_TB,
  ACS_UF,
  AER_ERROR,
  AT_TRANSLATED,
  type DmaResult,
  NO_PASID,
  REQUEST_WRITE,
  memoryRequestHeader,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { A, B, C, D, E, PORT1, PORT2, Peers, ROOT, ROOT2, barPage } from "./peers.ts";

const UNCORRECTABLE_STATUS = 4;
const HEADER_LOG = 0x1c;

function write(machine: Peers, from: number, to: number, value: number = 7): DmaResult {
  return machine.fabric.endpoint(from).untranslatedWrite(barPage(to), 0, value);
}

function translatedWrite(machine: Peers, from: number, to: number, value: number = 7): DmaResult {
  return machine.fabric.endpoint(from).translatedWrite(barPage(to), 0, value);
}

function hops(events: readonly TraceEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === "tlp:hop" ? [`${event.at.slice(5)} ${event.what}${event.rule === "" ? "" : `: ${event.rule}`}`] : [],
  );
}

/** The page of a peer's memory as the IOMMU gives it out. */
function mapPeer(machine: Peers, to: number): void {
  machine.iommu.map(NO_PASID, barPage(to), { host: barPage(to), read: true, write: true });
}

describe("below one switch", () => {
  test("without Request Redirect an untranslated address goes sideways and no IOMMU sees it", () => {
    const machine = new Peers();
    const recorder = machine.record();
    expect(write(machine, A, B)).toMatchObject({ status: "success", peer: B });
    expect(machine.at(B)).toBe(7);
    expect(machine.iommu.seen).toEqual([]);
    expect(hops(recorder.events)).toEqual(["02:00.0 sideways", "04:00.0 reached"]);
  });

  test("with Request Redirect it meets the IOMMU, which refuses it or lets it come back down", () => {
    const machine = new Peers();
    machine.setAcs(PORT1, ACS_RR);
    machine.setAcs(ROOT, ACS_UF);
    const recorder = machine.record();
    expect(write(machine, A, B)).toMatchObject({ status: "UR", fault: "not mapped", peer: undefined });
    expect(machine.at(B)).toBe(0);
    mapPeer(machine, B);
    expect(write(machine, A, B)).toMatchObject({ status: "success", peer: B });
    expect(machine.at(B)).toBe(7);
    expect(machine.iommu.seen).toHaveLength(2);
    expect(hops(recorder.events).slice(0, 1)).toEqual(["02:00.0 redirected: ACS P2P Request Redirect"]);
  });

  test("the redirected request would turn back at the root port without Upstream Forwarding there", () => {
    const machine = new Peers();
    machine.setAcs(PORT1, ACS_RR);
    machine.setAcs(ROOT, ACS_UF);
    const recorder = machine.record();
    mapPeer(machine, B);
    expect(write(machine, A, B).status).toBe("success");
    expect(hops(recorder.events)).toEqual([
      "02:00.0 redirected: ACS P2P Request Redirect",
      "00:01.0 forwarded: ACS Upstream Forwarding",
      "04:00.0 reached",
    ]);
    machine.setAcs(ROOT, 0);
    machine.iommu.unmap(NO_PASID, barPage(B));
    expect(write(machine, A, B, 8).status).toBe("success");
    expect(machine.iommu.seen).toHaveLength(1);
    expect(machine.at(B)).toBe(8);
  });

  test("Direct Translated P2P lets AT=10 alone past Request Redirect", () => {
    const machine = new Peers();
    machine.setAcs(PORT1, ACS_RR | ACS_DT);
    machine.setAcs(ROOT, ACS_UF);
    expect(translatedWrite(machine, A, B)).toMatchObject({ status: "success", peer: B });
    expect(machine.iommu.seen).toEqual([]);
    expect(write(machine, A, B).status).toBe("UR");
    machine.setAcs(PORT1, ACS_RR);
    expect(translatedWrite(machine, A, B, 9)).toMatchObject({ status: "success", peer: B });
    expect(machine.iommu.seen.map(({ flags }) => flags)).toEqual([REQUEST_WRITE, AT_TRANSLATED | REQUEST_WRITE]);
    expect(machine.at(B)).toBe(9);
  });

  test("Translation Blocking leaves Direct Translated P2P nothing to do", () => {
    const machine = new Peers();
    machine.setAcs(PORT1, ACS_TB | ACS_DT);
    expect(translatedWrite(machine, A, B)).toMatchObject({ status: "acs", fault: "ACS Translation Blocking" });
    expect(machine.at(B)).toBe(0);
  });

  test("Egress Control blocks the peers whose bit is 1, or redirects them with Request Redirect", () => {
    const machine = new Peers();
    const { config } = machine.port(PORT1);
    const vector = config.findExtendedCapability(0x0d) + 8;
    machine.setAcs(PORT1, ACS_EC);
    expect(write(machine, A, B).status).toBe("success");
    machine.port(PORT1).writeConfig(vector, 4, 1 << 2);
    expect(write(machine, A, B, 8)).toMatchObject({ status: "acs", fault: "ACS P2P Egress Control" });
    expect(machine.at(B)).toBe(7);
    machine.setAcs(PORT1, ACS_EC | ACS_RR);
    machine.setAcs(ROOT, ACS_UF);
    expect(write(machine, A, B).fault).toBe("not mapped");
    machine.port(PORT1).writeConfig(vector, 4, 0);
    expect(write(machine, A, B, 9).status).toBe("success");
    expect(machine.iommu.seen).toHaveLength(1);
    machine.port(PORT1).writeConfig(vector, 4, 1 << 2);
    machine.setAcs(PORT1, ACS_EC | ACS_DT);
    expect(translatedWrite(machine, A, B, 10).status).toBe("success");
    expect(machine.iommu.seen).toHaveLength(1);
  });

  test("a read brings the peer's data back, its completion by way of the root complex with Completion Redirect", () => {
    const machine = new Peers();
    machine.fabric.endpoint(B).memory.write(0, 4, 0xfeed);
    const recorder = machine.record();
    expect(machine.fabric.endpoint(A).untranslatedRead(barPage(B), 4)).toMatchObject({ value: 0xfeed, peer: B });
    machine.setAcs(PORT2, ACS_CR);
    expect(machine.fabric.endpoint(A).untranslatedRead(barPage(B), 4).value).toBe(0xfeed);
    expect(hops(recorder.events)).toEqual([
      "02:00.0 sideways",
      "04:00.0 reached",
      "02:00.0 sideways",
      "04:00.0 reached",
      "02:01.0 redirected: ACS P2P Completion Redirect",
    ]);
  });

  test("a Translation Request for a peer's address goes up all the same", () => {
    const machine = new Peers();
    mapPeer(machine, B);
    expect(machine.fabric.endpoint(A).translationRequest(barPage(B))).toMatchObject({
      status: "success",
      host: barPage(B),
    });
    expect(machine.iommu.seen).toHaveLength(1);
  });

  test("an address in a window where nothing answers is UR, and a peer in reset answers nothing", () => {
    const machine = new Peers();
    const peer = machine.fabric.endpoint(B);
    expect(machine.fabric.endpoint(A).untranslatedRead(barPage(B) + 0x8000, 0).status).toBe("master-abort");
    peer.writeConfig(4, 2, 4);
    expect(machine.fabric.endpoint(A).untranslatedRead(barPage(B), 0).status).toBe("master-abort");
    peer.writeConfig(4, 2, 6);
    peer.unplug();
    expect(machine.fabric.endpoint(A).untranslatedRead(barPage(B), 0)).toMatchObject({
      status: "lost",
      value: undefined,
    });
  });

  test("a port without Memory Space passes nothing down", () => {
    const machine = new Peers();
    machine.port(PORT2).writeConfig(4, 2, 4);
    mapPeer(machine, B);
    // The switch has no other port for it, so it goes up; the root port holds the address and turns it back.
    expect(write(machine, A, B).status).toBe("master-abort");
    expect(machine.at(B)).toBe(0);
  });
});

describe("in a multi-function device", () => {
  test("functions reach each other inside, as their own ACS says", () => {
    const machine = new Peers();
    const recorder = machine.record();
    expect(write(machine, B, C)).toMatchObject({ status: "success", peer: C });
    machine.setAcs(PORT2, ACS_UF);
    machine.setAcs(ROOT, ACS_UF);
    const acs = machine.fabric.endpoint(B).config.findExtendedCapability(0x0d);
    machine.fabric.endpoint(B).writeConfig(acs + 6, 2, ACS_RR);
    expect(write(machine, B, C, 8).fault).toBe("not mapped");
    expect(machine.at(C)).toBe(7);
    expect(hops(recorder.events)).toEqual([
      "04:00.0 internal",
      "04:00.1 reached",
      "04:00.0 redirected: ACS P2P Request Redirect",
      "02:01.0 forwarded: ACS Upstream Forwarding",
      "00:01.0 forwarded: ACS Upstream Forwarding",
    ]);
  });

  test("Egress Control names functions by number, and a violation is noted by the function", () => {
    const machine = new Peers();
    const endpoint = machine.fabric.endpoint(B);
    const acs = endpoint.config.findExtendedCapability(0x0d);
    endpoint.writeConfig(acs + 6, 2, ACS_EC);
    endpoint.writeConfig(acs + 8, 4, 1 << 1);
    expect(write(machine, B, C).status).toBe("acs");
    const aer = endpoint.config.findExtendedCapability(1);
    expect(endpoint.config.read32(aer + UNCORRECTABLE_STATUS)).toBe(2 ** AER_ERROR.acsViolation);
  });

  test("a device without internal paths sends to its own function over the link", () => {
    const machine = new Peers();
    machine.fabric.endpoint(B).choices.routesInternally = false;
    const recorder = machine.record();
    expect(write(machine, B, C)).toMatchObject({ status: "success", peer: C });
    expect(hops(recorder.events)).toEqual(["02:01.0 turned back", "04:00.1 reached"]);
    machine.setAcs(PORT2, ACS_UF);
    machine.setAcs(ROOT, ACS_UF);
    expect(write(machine, B, C).fault).toBe("not mapped");
  });
});

describe("between root ports", () => {
  test("the IOMMU comes first unless the root complex has a direct way and Request Redirect is off", () => {
    const machine = new Peers();
    expect(write(machine, A, D).fault).toBe("not mapped");
    mapPeer(machine, D);
    expect(write(machine, A, D)).toMatchObject({ status: "success", peer: D });
    machine.iommu.unmap(NO_PASID, barPage(D));
    machine.fabric.rootPeerToPeer = "direct";
    expect(write(machine, A, D, 8)).toMatchObject({ status: "success", peer: D });
    expect(machine.at(D)).toBe(8);
    machine.setAcs(ROOT, ACS_RR);
    expect(write(machine, A, D, 9).fault).toBe("not mapped");
  });

  test("a root complex that does not route between its ports answers UR", () => {
    const machine = new Peers();
    mapPeer(machine, D);
    mapPeer(machine, B);
    machine.fabric.rootPeerToPeer = "none";
    expect(write(machine, A, D)).toMatchObject({
      status: "UR",
      fault: "the root complex does not route between its ports",
    });
    machine.setAcs(PORT1, ACS_RR);
    machine.setAcs(ROOT, ACS_UF);
    expect(write(machine, A, B).status).toBe("success");
  });

  test("an IOVA that an IOMMU maps to a peer's memory reaches it", () => {
    const machine = new Peers();
    machine.iommu.map(NO_PASID, 0x55, { host: barPage(B), read: true, write: true });
    expect(machine.fabric.endpoint(D).dmaWrite(0x55, 0, 5)).toMatchObject({ status: "success", peer: B });
    expect(machine.fabric.endpoint(D).atc.lookup(0x55, NO_PASID)?.host).toBe(barPage(B));
    expect(machine.at(B)).toBe(5);
  });
});

describe("what a port notes", () => {
  test("an ACS violation: status, first error, header log; CA for a read, nothing for a write", () => {
    const machine = new Peers();
    machine.setAcs(ROOT2, ACS_SV);
    const endpoint = machine.fabric.endpoint(D);
    endpoint.spoofRid = 0x777;
    expect(endpoint.untranslatedRead(0x1234, 8)).toMatchObject({ status: "acs", fault: "ACS Source Validation" });
    expect(machine.aer(ROOT2, UNCORRECTABLE_STATUS)).toBe(2 ** 21);
    expect(machine.aer(ROOT2, 0x18) & 0x1f).toBe(21);
    const header = [0, 4, 8, 12].map((offset) => machine.aer(ROOT2, HEADER_LOG + offset));
    expect(header).toEqual([0x00000001, 0x0777000f, 0x01234008, 0]);
    expect(machine.port(ROOT2).config.read16(0x1e) & 0x800).toBe(0x800);
    endpoint.untranslatedWrite(0x9999, 0, 1);
    expect(machine.aer(ROOT2, HEADER_LOG + 8)).toBe(0x01234008);
    machine.port(ROOT2).writeConfig(machine.port(ROOT2).config.findExtendedCapability(1) + 4, 4, 2 ** 21);
    endpoint.untranslatedWrite(0x9999, 0, 1);
    expect(machine.aer(ROOT2, HEADER_LOG + 8)).toBe(0x09999000);
  });

  test("a masked error sets its bit and tells nobody", () => {
    const machine = new Peers();
    machine.setAcs(ROOT2, ACS_TB);
    const port = machine.port(ROOT2);
    const told: unknown[] = [];
    const stop = port.errors.onError((error, fatal) => told.push([error, fatal]));
    const aer = port.config.findExtendedCapability(1);
    port.writeConfig(aer + 8, 4, 2 ** 21);
    machine.fabric.endpoint(D).translationRequest(5);
    expect(machine.aer(ROOT2, UNCORRECTABLE_STATUS)).toBe(2 ** 21);
    expect(machine.aer(ROOT2, HEADER_LOG)).toBe(0);
    expect(told).toEqual([]);
    port.writeConfig(aer + 8, 4, 0);
    port.writeConfig(aer + 0xc, 4, 2 ** 21);
    machine.fabric.endpoint(D).translationRequest(5);
    expect(told).toEqual([[AER_ERROR.acsViolation, true]]);
    stop();
    machine.fabric.endpoint(D).translationRequest(5);
    expect(told).toHaveLength(1);
    const status = port.config.findCapability(0x10) + 0xa;
    expect(port.config.read16(status) & 6).toBe(6);
  });

  test("a PASID prefix at a port that reads none: malformed, no completion", () => {
    const machine = new Peers();
    const endpoint = machine.fabric.endpoint(E);
    machine.setPasid(true, endpoint);
    expect(endpoint.untranslatedRead(0x55, 0, 1)).toMatchObject({
      status: "malformed",
      fault: "End-End TLP prefix not supported",
    });
    expect(endpoint.translationRequest(0x55, 1).status).toBe("malformed");
    expect(endpoint.translationRequest(0x55).sent).toBe(true);
    expect(machine.aer(0x18, UNCORRECTABLE_STATUS)).toBe(2 ** AER_ERROR.malformedTlp);
    expect(machine.fabric.counters.nonPosted.dropped).toEqual(new Map([["malformed", 2]]));
  });

  test("a spoofed read's completion is unexpected where it arrives", () => {
    const machine = new Peers();
    machine.iommu.map(NO_PASID, 5, { host: machine.buffer, read: true, write: true });
    machine.fabric.endpoint(A).spoofRid = D;
    expect(machine.fabric.endpoint(A).untranslatedRead(5, 0)).toMatchObject({ status: "success", value: undefined });
    const victim = machine.fabric.endpoint(D).config;
    expect(victim.read32(victim.findExtendedCapability(1) + 4)).toBe(2 ** AER_ERROR.unexpectedCompletion);
  });
});

describe("Address Types", () => {
  test("AT=11, and AT=01 on a write, are UR and no IOMMU sees them", () => {
    const machine = new Peers();
    const endpoint = machine.fabric.endpoint(D);
    expect(endpoint.request(5, 0, 3, 0)).toMatchObject({ status: "UR", fault: "Address Type" });
    expect(endpoint.request(5, 0, 1 | REQUEST_WRITE, 1)).toMatchObject({ status: "UR", fault: "Address Type" });
    expect(machine.iommu.seen).toEqual([]);
  });

  test("a peer takes AT=00 and AT=10 alone", () => {
    const machine = new Peers();
    const endpoint = machine.fabric.endpoint(A);
    expect(endpoint.request(barPage(B), 0, 3, 0)).toMatchObject({ status: "UR", fault: "Address Type" });
    expect(endpoint.request(barPage(B), 0, 1 | REQUEST_WRITE, 1)).toMatchObject({ status: "UR", peer: B });
    const { config } = machine.fabric.endpoint(B);
    expect(config.read32(config.findExtendedCapability(1) + 4)).toBe(2 ** AER_ERROR.unsupportedRequest);
  });

  test("headers: three words below 4 GiB, four above; AT in bits 11:10, NW in bit 0", () => {
    expect(memoryRequestHeader(0x100, 0x55, 8, REQUEST_WRITE)).toEqual([0x40000001, 0x0100000f, 0x00055008, 0]);
    expect(memoryRequestHeader(0x100, 0x123456, 0, AT_TRANSLATED)).toEqual([0x20000801, 0x0100000f, 1, 0x23456000]);
    expect(memoryRequestHeader(0x100, 0x55, 0, 1 | 8)).toEqual([0x00000402, 0x010000ff, 0x00055001, 0]);
  });
});
