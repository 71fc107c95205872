import { Mmio, PlatformHost, Recorder, createPlatform, injects, linux, token } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";

class Counter {
  value = 0;
}
class User {
  readonly counter: Counter;
  constructor(counter: Counter) {
    this.counter = counter;
  }
}
const COUNTER = token<Counter>("test.counter");
const USER = token<User>("test.user");

describe("the container of a platform", () => {
  it("gives one instance per platform and none to another", () => {
    const hosts = [new PlatformHost(), new PlatformHost()].map((host) => {
      host.bind(COUNTER, Counter);
      host.bind(USER, User, COUNTER);
      return host;
    });
    const [one, two] = hosts.map((host) => host.get(USER).counter);
    if (one === undefined || two === undefined) {
      throw new Error("not made");
    }
    one.value = 5;
    expect(hosts[0]?.get(COUNTER)).toBe(one);
    expect(two.value).toBe(0);
  });

  it("names a service that nobody provides", () => {
    expect(() => new PlatformHost().get(COUNTER)).toThrow("no plugin provides iommu-lab:test.counter");
  });

  it("the compiler refuses the wrong token", () => {
    // @ts-expect-error a User is no Counter
    injects(User, USER);
    injects(User, COUNTER);
    expect(new User(new Counter()).counter.value).toBe(0);
  });
});

describe("two platforms in one process", () => {
  it("share neither memory, trace nor devices", () => {
    const [a, b] = [
      createPlatform({ kernel: linux("7.2"), plugins: [] }),
      createPlatform({ kernel: linux("7.2"), plugins: [] }),
    ];
    const recorder = new Recorder(b.trace);
    a.memory.store32(a.memory.base, 1);
    a.trace.emit("mark", { what: "a" });
    a.boot();
    expect(b.memory.load32(b.memory.base)).toBe(0);
    expect(recorder.events).toEqual([]);
    expect(() => a.boot()).toThrow(/booted already/);
  });

  it("an unknown kernel is told with the known ones", () => {
    expect(() => linux("5.4")).toThrow('unknown kernel "5.4": expected one of linux-6.1, linux-6.12, linux-7.2');
    expect(linux("7.2", { cmdline: "iommu=pt  a.b=c" }).parameters.get("a.b")).toBe("c");
  });
});

describe("register windows", () => {
  it("route by address, read all ones where nothing is, and refuse overlaps", () => {
    const platform = createPlatform({ kernel: linux("7.2"), plugins: [] });
    const { mmio } = platform;
    const written: string[] = [];
    const region = {
      name: "unit",
      read32: (offset: number) => offset,
      write32: (offset: number, value: number) => written.push(`${offset}=${value}`),
    };
    mmio.map(0x1000, 0x100, region);
    expect(mmio.read32(0x1010)).toBe(0x10);
    expect(mmio.read32(0x2000)).toBe(0xffffffff);
    mmio.write64(0x1008, 1, 2);
    expect(written).toEqual(["8=1", "12=2"]);
    expect(() => mmio.map(0x10ff, 0x10, region)).toThrow(/overlaps/);
    expect(mmio).toBeInstanceOf(Mmio);
  });
});

describe("a recorder", () => {
  it("keeps the last events", () => {
    const { trace } = createPlatform({ kernel: linux("7.2"), plugins: [] });
    const recorder = new Recorder(trace, 2);
    for (const what of ["a", "b", "c"]) {
      trace.emit("mark", { what });
    }
    expect(recorder.events.map(({ id }) => id)).toEqual([2, 3]);
    expect(recorder.dropped).toBe(1);
    recorder.stop();
    expect(trace.active).toBe(false);
  });
});
