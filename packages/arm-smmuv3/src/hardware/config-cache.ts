import type { Digest, Digestible } from "@iommu-lab/core";
import type { ContextEntry } from "./context-entry.ts";
import type { StreamEntry } from "./stream-entry.ts";

/** What an SMMU keeps of what it read: everything the architecture allows, or nothing. */
export type CachePolicy = "keep-all" | "none";

/** A level-1 descriptor as it was fetched: where it leads and how far it reaches. */
export interface Level1Entry {
  /** Where it is. */
  readonly address: number;
  /** Entries of the array it points to; 0 = invalid. */
  readonly count: number;
  /** The array. */
  readonly pointer: number;
}

/** What is kept of one stream's context descriptors. */
interface Contexts {
  readonly entries: Map<number, ContextEntry>;
  readonly level1: Map<number, Level1Entry>;
}

/**
 * Configuration structures that were read. Entries are kept whether valid or not, and leave by CFGI commands alone, so a
 * change that software forgot to announce shows.
 *
 * Source: SMMUv3 §3.21, §4.3.
 */
export class ConfigCache implements Digestible {
  readonly #keep: boolean;
  readonly #level1 = new Map<number, Level1Entry>();
  readonly #streams = new Map<number, StreamEntry>();
  readonly #contexts = new Map<number, Contexts>();

  constructor(policy: CachePolicy) {
    this.#keep = policy === "keep-all";
  }

  /** The level-1 stream table descriptor with this index. */
  level1(index: number): Level1Entry | undefined {
    return this.#level1.get(index);
  }

  /** Keeps a level-1 stream table descriptor. */
  keepLevel1(index: number, entry: Level1Entry): void {
    if (this.#keep) {
      this.#level1.set(index, entry);
    }
  }

  /** The STE of a stream. */
  stream(sid: number): StreamEntry | undefined {
    return this.#streams.get(sid);
  }

  /** Keeps an STE. */
  keepStream(sid: number, entry: StreamEntry): void {
    if (this.#keep) {
      this.#streams.set(sid, entry);
    }
  }

  /** A context descriptor. */
  context(sid: number, ssid: number): ContextEntry | undefined {
    return this.#contexts.get(sid)?.entries.get(ssid);
  }

  /** Keeps a context descriptor. */
  keepContext(sid: number, ssid: number, entry: ContextEntry): void {
    if (this.#keep) {
      this.#of(sid).entries.set(ssid, entry);
    }
  }

  /** A level-1 context descriptor. */
  contextLevel1(sid: number, index: number): Level1Entry | undefined {
    return this.#contexts.get(sid)?.level1.get(index);
  }

  /** Keeps a level-1 context descriptor. */
  keepContextLevel1(sid: number, index: number, entry: Level1Entry): void {
    if (this.#keep) {
      this.#of(sid).level1.set(index, entry);
    }
  }

  /**
   * CFGI_STE and CFGI_STE_RANGE: the STEs of `count` streams and everything below them.
   *
   * @param split StreamID bits below the level-1 index, to drop level-1 descriptors too; undefined = leave those
   */
  dropStreams(first: number, count: number, split: number | undefined): void {
    const inRange = (sid: number): boolean => sid >= first && sid < first + count;
    for (const map of [this.#streams, this.#contexts]) {
      for (const sid of map.keys()) {
        if (inRange(sid)) {
          map.delete(sid);
        }
      }
    }
    if (split !== undefined) {
      const last = Math.floor((first + count - 1) / 2 ** split);
      for (const index of this.#level1.keys()) {
        if (index >= Math.floor(first / 2 ** split) && index <= last) {
          this.#level1.delete(index);
        }
      }
    }
  }

  /** CFGI_CD. @param leaf the level-1 descriptors stay */
  dropContext(sid: number, ssid: number, leaf: boolean): void {
    const contexts = this.#contexts.get(sid);
    contexts?.entries.delete(ssid);
    if (!leaf) {
      contexts?.level1.clear();
    }
  }

  /** CFGI_CD_ALL. */
  dropContexts(sid: number): void {
    this.#contexts.delete(sid);
  }

  /** CFGI_ALL. */
  clear(): void {
    this.#level1.clear();
    this.#streams.clear();
    this.#contexts.clear();
  }

  digest(into: Digest): void {
    digestMap(this.#level1, into);
    digestMap(this.#streams, into);
    for (const [sid, contexts] of [...this.#contexts].toSorted((a, b) => a[0] - b[0])) {
      into.number(sid);
      digestMap(contexts.entries, into);
      digestMap(contexts.level1, into);
    }
  }

  #of(sid: number): Contexts {
    const known = this.#contexts.get(sid);
    if (known !== undefined) {
      return known;
    }
    const created: Contexts = { entries: new Map(), level1: new Map() };
    this.#contexts.set(sid, created);
    return created;
  }
}

function digestMap(map: ReadonlyMap<number, unknown>, into: Digest): void {
  for (const [key, value] of [...map].toSorted((a, b) => a[0] - b[0])) {
    into.number(key);
    into.text(JSON.stringify(value));
  }
}
