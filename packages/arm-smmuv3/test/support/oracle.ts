/**
 * A naive SMMUv3 over bigints: the rules of the fact tables written down one after the other, without caches, for an SMMU
 * that never stalls, updates nothing and has 48-bit addresses. It shares no code with the model.
 */

/** What the oracle says of one request. */
export interface Verdict {
  readonly status: "success" | "UR" | "CA";
  readonly page: bigint;
  readonly permissions: string;
  /** `-` = none recorded; its name, and `of stage 2`. */
  readonly event: string;
}

export interface OracleRequest {
  readonly kind: "read" | "write" | "translation-request" | "translated-read" | "translated-write";
  /** -1 = none. */
  readonly pasid: number;
  readonly page: bigint;
  readonly noWrite: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
}

export interface OracleSettings {
  /** The 64-bit word at an address; undefined = nothing answers there. */
  readonly load: (address: bigint) => bigint | undefined;
  /** Eight words of the STE. */
  readonly ste: readonly bigint[];
  readonly atschk: boolean;
  readonly recCfgAts: boolean;
}

interface Fault {
  readonly name: string;
  readonly stage: 1 | 2;
}

class Stop extends Error {
  readonly fault: Fault;
  constructor(name: string, stage: 1 | 2 = 1) {
    super(name);
    this.fault = { name, stage };
  }
}

interface Leaf {
  readonly page: bigint;
  readonly allowed: (privileged: boolean) => string;
  readonly device: boolean;
}

const bits = (word: bigint, high: number, low: number): number =>
  Number((word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
const sizes = [32, 36, 40, 42, 44, 48, 48, 48];
const translationFaults = new Set(["F_TRANSLATION", "F_ADDR_SIZE", "F_ACCESS", "F_PERMISSION"]);

/** Which T0SZ a start level of stage 2 takes, as the sheet lists them. */
const stage2Starts: Readonly<Record<string, Readonly<Record<number, readonly [number, number]>>>> = {
  "12": { 0: [16, 24], 1: [21, 33], 2: [30, 39] },
  "14": { 1: [16, 27], 2: [24, 38], 3: [35, 39] },
  "16": { 1: [16, 21], 2: [18, 34], 3: [31, 39] },
};
const stage1Starts: Readonly<Record<string, readonly (readonly [number, number, number])[]>> = {
  "12": [
    [16, 24, 0],
    [25, 33, 1],
    [34, 39, 2],
  ],
  "14": [
    [16, 16, 0],
    [17, 27, 1],
    [28, 38, 2],
    [39, 39, 3],
  ],
  "16": [
    [16, 21, 1],
    [22, 34, 2],
    [35, 39, 3],
  ],
};
const blockLevels: Readonly<Record<string, readonly number[]>> = { "12": [1, 2], "14": [2], "16": [2] };

function labelOf(name: string, stage: 1 | 2): string {
  return stage === 2 ? `${name} of stage 2` : name;
}

function shiftOf(granule: number, level: number): number {
  return granule + (3 - level) * (granule - 3);
}

export class Oracle {
  readonly #settings: OracleSettings;

  constructor(settings: OracleSettings) {
    this.#settings = settings;
  }

  judge(request: OracleRequest): Verdict {
    const { recCfgAts } = this.#settings;
    const ats = request.kind === "translation-request";
    const translated = request.kind.startsWith("translated");
    try {
      return ats ? this.#ats(request) : translated ? this.#translated(request) : this.#untranslated(request);
    } catch (error) {
      if (!(error instanceof Stop)) {
        throw error;
      }
      const { name, stage } = error.fault;
      if (name === "abort") {
        return { status: "UR", page: 0n, permissions: "", event: "-" };
      }
      const soft = translationFaults.has(name);
      if (ats) {
        if (name === "F_BAD_ATS_TREQ") {
          return { status: "UR", page: 0n, permissions: "", event: name };
        }
        return soft
          ? { status: "success", page: 0n, permissions: "", event: "-" }
          : { status: "CA", page: 0n, permissions: "", event: recCfgAts ? labelOf(name, stage) : "-" };
      }
      const forbidden = name === "F_TRANSL_FORBIDDEN";
      const records = soft
        ? this.#records(request, stage)
        : !translated || forbidden || recCfgAts || name === "F_WALK_EABT";
      return { status: "UR", page: 0n, permissions: "", event: records ? labelOf(name, stage) : "-" };
    }
  }

  /** CD.R and STE.S2R; where no context descriptor was in use a fault of stage 1 is always recorded. */
  #records(request: OracleRequest, stage: 1 | 2): boolean {
    if (stage === 2) {
      return bits(this.#word(2), 58, 58) === 1;
    }
    if (request.kind.startsWith("translated")) {
      return true;
    }
    const ssid = this.#substream(request, false);
    if (ssid === "bypass") {
      return true;
    }
    const cd = this.#cd(ssid, false);
    return bits(cd[0] ?? 0n, 45, 45) === 1;
  }

  #word(index: number): bigint {
    return this.#settings.ste[index] ?? 0n;
  }

  get #config(): number {
    return bits(this.#word(0), 3, 1);
  }

  get #stage1(): boolean {
    return this.#config === 5 || this.#config === 7;
  }

  get #stage2(): boolean {
    return this.#config === 6 || this.#config === 7;
  }

  #checkSte(): void {
    const bad = new Stop("C_BAD_STE");
    if (bits(this.#word(0), 0, 0) === 0) {
      throw bad;
    }
    if (this.#config < 5) {
      return;
    }
    if (bits(this.#word(1), 29, 28) === 2 && this.#config !== 7) {
      throw bad;
    }
    if (this.#stage2) {
      const granule = this.#s2Granule;
      const t0Sz = bits(this.#word(2), 37, 32);
      const range = stage2Starts[granule]?.[this.#s2Start];
      const aa64 = bits(this.#word(2), 51, 51) === 1;
      if (granule === 0 || !aa64 || range === undefined || t0Sz < range[0] || t0Sz > range[1]) {
        throw bad;
      }
      if (this.#s2Ttb >= 1n << BigInt(this.#s2Bits)) {
        throw bad;
      }
    }
  }

  get #s2Granule(): number {
    return [12, 16, 14, 0][bits(this.#word(2), 47, 46)] ?? 0;
  }

  get #s2Start(): number {
    const sl0 = bits(this.#word(2), 39, 38);
    return this.#s2Granule === 12 ? ([2, 1, 0, 9][sl0] ?? 9) : ([3, 2, 1, 9][sl0] ?? 9);
  }

  get #s2Bits(): number {
    return sizes[bits(this.#word(2), 50, 48)] ?? 48;
  }

  get #s2Ttb(): bigint {
    return this.#word(3) & 0xffffffffffff0n;
  }

  #eats(): number {
    const eats = bits(this.#word(1), 29, 28);
    if ((this.#config & 3) === 0 || eats === 3 || (eats === 2 && !this.#settings.atschk)) {
      return 0;
    }
    return eats;
  }

  /** Steps 7 and 8. */
  #substream(request: OracleRequest, checked: boolean): number | "bypass" {
    const cdMax = bits(this.#word(0), 63, 59);
    const dss = bits(this.#word(1), 1, 0);
    if (request.pasid >= 0) {
      if (checked && (!this.#stage1 || cdMax === 0 || request.pasid >= 2 ** cdMax)) {
        throw new Stop("C_BAD_SUBSTREAMID");
      }
      if (checked && request.pasid === 0 && dss === 2) {
        throw new Stop("F_STREAM_DISABLED");
      }
      return request.pasid;
    }
    if (!this.#stage1) {
      return "bypass";
    }
    if (cdMax === 0 || dss === 2) {
      return 0;
    }
    if (dss === 1) {
      return "bypass";
    }
    throw new Stop("F_STREAM_DISABLED");
  }

  /** Steps 10 to 12, for a linear table. */
  #cd(ssid: number, checked: boolean): readonly bigint[] {
    const cdMax = bits(this.#word(0), 63, 59);
    const pointer = this.#word(0) & 0xffffffffffffc0n;
    let address = pointer - (pointer % (64n << BigInt(cdMax))) + 64n * BigInt(ssid);
    if (this.#stage2) {
      address = this.#throughStage2(address);
    }
    const words = [0n, 8n, 16n, 24n].map((offset) => this.#settings.load(address + offset));
    if (words.includes(undefined)) {
      throw new Stop("F_CD_FETCH");
    }
    const cd = words.map((word) => word ?? 0n);
    if (checked) {
      this.#checkCd(cd);
    }
    return cd;
  }

  #checkCd([w0 = 0n, w1 = 0n, w2 = 0n]: readonly bigint[]): void {
    const bad = new Stop("C_BAD_CD");
    const flag = (bit: number): boolean => bits(w0, bit, bit) === 1;
    // V, AA64, A set (termination always aborts here); S and ENDI clear.
    if (!flag(31) || !flag(41) || !flag(46) || flag(44) || flag(15)) {
      throw bad;
    }
    const limit = 1n << BigInt(sizes[bits(w0, 34, 32)] ?? 48);
    for (const [epd, granule, tSz, ttb] of [
      [flag(14), [12, 16, 14, 0][bits(w0, 7, 6)], bits(w0, 5, 0), w1],
      [flag(30), [0, 14, 12, 16][bits(w0, 23, 22)], bits(w0, 21, 16), w2],
    ] as const) {
      if (!epd && (granule === 0 || tSz < 16 || tSz > 39 || (ttb & 0xffffffffffff0n) >= limit)) {
        throw bad;
      }
    }
  }

  /** A descriptor or table of stage 1, at an intermediate address: reads must be permitted. */
  #throughStage2(address: bigint): bigint {
    const leaf = this.#walk2(address >> 12n);
    const protects = bits(this.#word(2), 54, 54) === 1;
    if ((protects && leaf.device) || !leaf.allowed(false).includes("r")) {
      throw new Stop("F_PERMISSION", 2);
    }
    return leaf.page * 4096n + (address & 0xfffn);
  }

  #walk2(page: bigint): Leaf {
    const granule = this.#s2Granule;
    const inputBits = 64 - bits(this.#word(2), 37, 32);
    const input = page << 12n;
    if (input >= 1n << BigInt(inputBits)) {
      throw new Stop("F_TRANSLATION", 2);
    }
    const tableBits = inputBits - shiftOf(granule, this.#s2Start) + 3;
    const root = (this.#s2Ttb >> BigInt(Math.max(tableBits, 6))) << BigInt(Math.max(tableBits, 6));
    const { word, target } = this.#descend(root, this.#s2Start, granule, input, inputBits, this.#s2Bits, 2);
    if (bits(word, 10, 10) === 0 && bits(this.#word(2), 53, 53) === 0) {
      throw new Stop("F_ACCESS", 2);
    }
    const read = bits(word, 6, 6) === 1 ? "r" : "";
    const write = bits(word, 7, 7) === 1 ? "w" : "";
    const execute = ["up", "u", "", "p"][bits(word, 54, 54) * 2 + bits(word, 53, 53)] ?? "";
    return {
      page: target >> 12n,
      allowed: (privileged) => read + write + (execute.includes(privileged ? "p" : "u") ? "x" : ""),
      device: bits(word, 5, 4) === 0,
    };
  }

  /** @returns the leaf's descriptor and the output address, and what tables above took away */
  #descend(
    root: bigint,
    start: number,
    granule: number,
    input: bigint,
    inputBits: number,
    outputBits: number,
    stage: 1 | 2,
  ): { readonly word: bigint; readonly target: bigint; readonly above: readonly bigint[] } {
    const above: bigint[] = [];
    let table = root;
    for (let level = start; ; level += 1) {
      const shift = BigInt(shiftOf(granule, level));
      const top = level === start ? BigInt(inputBits) : shift + BigInt(granule - 3);
      const index = (input & ((1n << top) - 1n)) >> shift;
      const address = table + 8n * index;
      const word = this.#settings.load(stage === 1 && this.#stage2 ? this.#throughStage2(address) : address);
      if (word === undefined) {
        throw new Stop("F_WALK_EABT", stage);
      }
      const type = bits(word, 1, 0);
      const leaf = level === 3 ? type === 3 : type === 1 && (blockLevels[granule]?.includes(level) ?? false);
      const next = level < 3 && type === 3;
      if (!leaf && !next) {
        throw new Stop("F_TRANSLATION", stage);
      }
      const field = word & 0xffffffffffffn & ~((1n << BigInt(granule)) - 1n);
      if (field >= 1n << BigInt(outputBits)) {
        throw new Stop("F_ADDR_SIZE", stage);
      }
      if (leaf) {
        const low = (1n << shift) - 1n;
        return { word, target: (field & ~low) | (input & low), above };
      }
      above.push(word);
      table = field;
    }
  }

  #walk1(cd: readonly bigint[], page: bigint): Leaf {
    const [w0 = 0n, w1 = 0n, w2 = 0n] = cd;
    const address = page << 12n;
    const high = bits(address, 55, 55) === 1;
    const tSz = high ? bits(w0, 21, 16) : bits(w0, 5, 0);
    const granule = (high ? [0, 14, 12, 16][bits(w0, 23, 22)] : [12, 16, 14, 0][bits(w0, 7, 6)]) ?? 0;
    const ignoresTop = bits(w0, high ? 39 : 38, high ? 39 : 38) === 1;
    if (bits(w0, high ? 30 : 14, high ? 30 : 14) === 1) {
      throw new Stop("F_TRANSLATION");
    }
    const inputBits = 64 - tSz;
    const end = ignoresTop ? 55 : 63;
    const rest = bits(address, end, inputBits);
    if (rest !== (high ? 2 ** (end - inputBits + 1) - 1 : 0)) {
      throw new Stop("F_TRANSLATION");
    }
    const start = stage1Starts[granule]?.find(([from, to]) => tSz >= from && tSz <= to)?.[2] ?? 9;
    const tableBits = Math.max(6, inputBits - shiftOf(granule, start) + 3);
    const ttb = (((high ? w2 : w1) & 0xffffffffffff0n) >> BigInt(tableBits)) << BigInt(tableBits);
    const limit = sizes[bits(w0, 34, 32)] ?? 48;
    const { word, target, above } = this.#descend(ttb, start, granule, address, inputBits, limit, 1);
    if (bits(word, 10, 10) === 0 && bits(w0, 35, 35) === 0) {
      throw new Stop("F_ACCESS");
    }
    return { page: target >> 12n, allowed: permissionsOf(word, above, cd, high), device: false };
  }

  #untranslated(request: OracleRequest): Verdict {
    this.#checkSte();
    if (this.#config < 4) {
      throw new Stop("abort");
    }
    const ssid = this.#substream(request, true);
    const need = request.kind === "write" ? "w" : request.execute && request.pasid >= 0 ? "x" : "r";
    const privileged = request.pasid >= 0 && request.privileged;
    let { page } = request;
    if (ssid === "bypass") {
      if (page >= 1n << 36n) {
        throw new Stop("F_ADDR_SIZE");
      }
    } else {
      const leaf = this.#walk1(this.#cd(ssid, true), page);
      if (!leaf.allowed(privileged).includes(need)) {
        throw new Stop("F_PERMISSION");
      }
      ({ page } = leaf);
    }
    if (this.#stage2) {
      const leaf = this.#walk2(page);
      if (!leaf.allowed(privileged).includes(need)) {
        throw new Stop("F_PERMISSION", 2);
      }
      ({ page } = leaf);
    }
    return { status: "success", page, permissions: "rw", event: "-" };
  }

  #ats(request: OracleRequest): Verdict {
    this.#checkSte();
    if (this.#config < 4) {
      throw new Stop("abort");
    }
    const eats = this.#eats();
    if (this.#config === 4 || eats === 0) {
      throw new Stop("F_BAD_ATS_TREQ");
    }
    const ssid = this.#substream(request, true);
    const privileged = request.pasid >= 0 && request.privileged;
    let { page } = request;
    let granted = "rwx";
    if (ssid === "bypass") {
      if (page >= 1n << 36n) {
        throw new Stop("F_ADDR_SIZE");
      }
      if (!this.#stage2) {
        return { status: "success", page, permissions: "rw", event: "-" };
      }
    } else {
      const leaf = this.#walk1(this.#cd(ssid, true), page);
      granted = leaf.allowed(privileged);
      ({ page } = leaf);
    }
    if (!/[rw]/.test(granted)) {
      throw new Stop("F_PERMISSION");
    }
    let host = page;
    if (this.#stage2) {
      const leaf = this.#walk2(page);
      granted = Array.from(granted)
        .filter((letter) => leaf.allowed(privileged).includes(letter))
        .join("");
      host = leaf.page;
    }
    const execute = request.execute && request.pasid >= 0 && granted.includes("r") && granted.includes("x");
    const permissions = granted.replace("x", "") + (execute ? "x" : "");
    if (!/[rw]/.test(permissions)) {
      throw new Stop("F_PERMISSION");
    }
    return { status: "success", page: eats === 2 ? page : host, permissions, event: "-" };
  }

  #translated(request: OracleRequest): Verdict {
    const passes = (page: bigint): Verdict => {
      if (page >= 1n << 36n) {
        throw new Stop("abort");
      }
      return { status: "success", page, permissions: "rw", event: "-" };
    };
    if (!this.#settings.atschk) {
      return passes(request.page);
    }
    this.#checkSte();
    if (this.#config < 4) {
      throw new Stop("abort");
    }
    const eats = this.#eats();
    if (this.#config === 4 || eats === 0) {
      throw new Stop("F_TRANSL_FORBIDDEN");
    }
    if (eats === 1) {
      return passes(request.page);
    }
    if (request.page >= 1n << 36n) {
      throw new Stop("F_ADDR_SIZE");
    }
    const leaf = this.#walk2(request.page);
    if (!leaf.allowed(false).includes(request.kind === "translated-write" ? "w" : "r")) {
      throw new Stop("F_PERMISSION", 2);
    }
    return { status: "success", page: leaf.page, permissions: "rw", event: "-" };
  }
}

/** Stage 1 at EL1 and EL0. */
function permissionsOf(
  word: bigint,
  above: readonly bigint[],
  [w0 = 0n, w1 = 0n, w2 = 0n]: readonly bigint[],
  high: boolean,
): (privileged: boolean) => string {
  const flag = (bit: number): boolean => bits(word, bit, bit) === 1;
  const had = bits(high ? w2 : w1, 1, 1) === 1;
  const taken = (bit: number): boolean => !had && above.some((table) => bits(table, bit, bit) === 1);
  const writable = !flag(7) && !taken(62);
  const user = flag(6) && !taken(61);
  const wxn = bits(w0, 36, 36) === 1;
  const userX = !flag(54) && !taken(60) && !(wxn && writable && user);
  const privX = !flag(53) && !taken(59) && !(writable && user) && !(wxn && writable);
  const kept = bits(w0, 40, 40) === 1 && user;
  return (privileged) => {
    const reaches = privileged ? !kept : user;
    return (reaches ? `r${writable ? "w" : ""}` : "") + ((privileged ? privX : userX) ? "x" : "");
  };
}
