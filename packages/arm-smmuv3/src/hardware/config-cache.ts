import type { Digest, Digestible } from "@iommu-lab/core";
import type { CachePolicy } from "@iommu-lab/pci";
import { Retention } from "./cache-policy.ts";
import { ContextEntry } from "./context-entry.ts";
import { EntryCache } from "./entry-cache.ts";
import { Level1Entry } from "./level1-entry.ts";
import { StreamEntry } from "./stream-entry.ts";

/** What is kept of one stream. Context descriptors go with the STE that led to them. */
class CachedStream implements Digestible {
  readonly entry = new StreamEntry();
  readonly contexts: EntryCache<ContextEntry>;
  readonly level1: EntryCache<Level1Entry>;

  constructor(retention: Retention) {
    this.contexts = new EntryCache(retention);
    this.level1 = new EntryCache(retention);
  }

  digest(into: Digest): void {
    this.entry.digest(into);
    this.contexts.digest(into);
    this.level1.digest(into);
  }
}

/**
 * Configuration structures that were read. Entries are kept whether valid or not, and leave by CFGI commands or because
 * the policy says so; what software forgot to announce stays visible.
 *
 * Source: SMMUv3 §3.21, §4.3.
 */
export class ConfigCache implements Digestible {
  readonly #retention: Retention;
  readonly #level1: EntryCache<Level1Entry>;
  readonly #streams: EntryCache<CachedStream>;
  /** The stream of the request in hand; undefined = its STE is not kept. */
  #current: CachedStream | undefined;
  /** Requests come in rows from one stream: what was found last is looked at first. -1 = nothing. */
  #lastSid = -1;
  #lastSsid = -1;
  #lastContext: ContextEntry | undefined;
  readonly #spareLevel1 = new Level1Entry();
  readonly #spareStream = new StreamEntry();
  readonly #spareContext = new ContextEntry();

  constructor(policy: CachePolicy) {
    const retention = new Retention(policy);
    this.#retention = retention;
    this.#level1 = new EntryCache(retention);
    this.#streams = new EntryCache(retention);
  }

  /** The level-1 stream table descriptor with this index. */
  level1(index: number): Level1Entry | undefined {
    return this.#level1.get(index);
  }

  /** A level-1 stream table descriptor to fill, kept if the policy wants it. */
  newLevel1(index: number): Level1Entry {
    return fresh(this.#retention, this.#level1, index, Level1Entry) ?? this.#spareLevel1;
  }

  /** The STE of a stream. The context descriptors asked for next are of this stream. */
  stream(sid: number): StreamEntry | undefined {
    if (sid !== this.#lastSid) {
      this.#forgetLast();
      this.#current = this.#streams.get(sid);
      this.#lastSid = this.#current === undefined || this.#retention.ordered ? -1 : sid;
    }
    return this.#current?.entry;
  }

  /** An STE to fill, kept if the policy wants it. The context descriptors asked for next are of this stream. */
  newStream(sid: number): StreamEntry {
    this.#forgetLast();
    this.#current = undefined;
    if (!this.#retention.keeps()) {
      return this.#spareStream;
    }
    this.#current = new CachedStream(this.#retention);
    this.#streams.set(sid, this.#current);
    return this.#current.entry;
  }

  /** A context descriptor of the stream in hand. */
  context(ssid: number): ContextEntry | undefined {
    if (ssid === this.#lastSsid) {
      return this.#lastContext;
    }
    const found = this.#current?.contexts.get(ssid);
    if (found !== undefined && !this.#retention.ordered) {
      this.#lastSsid = ssid;
      this.#lastContext = found;
    }
    return found;
  }

  /** A context descriptor of the stream in hand to fill, kept if the policy wants it. */
  newContext(ssid: number): ContextEntry {
    this.#lastSsid = -1;
    return fresh(this.#retention, this.#current?.contexts, ssid, ContextEntry) ?? this.#spareContext;
  }

  /** A level-1 context descriptor of the stream in hand. */
  contextLevel1(index: number): Level1Entry | undefined {
    return this.#current?.level1.get(index);
  }

  /** A level-1 context descriptor of the stream in hand to fill, kept if the policy wants it. */
  newContextLevel1(index: number): Level1Entry {
    return fresh(this.#retention, this.#current?.level1, index, Level1Entry) ?? this.#spareLevel1;
  }

  /**
   * CFGI_STE and CFGI_STE_RANGE: the STEs of `count` streams and everything below them.
   *
   * @param split StreamID bits below the level-1 index, to drop level-1 descriptors too; undefined = leave those
   */
  dropStreams(first: number, count: number, split: number | undefined): void {
    this.#forgetLast();
    const last = first + count - 1;
    this.#streams.dropRange(first, last);
    if (split !== undefined) {
      this.#level1.dropRange(Math.floor(first / 2 ** split), Math.floor(last / 2 ** split));
    }
  }

  /** CFGI_CD. @param leaf the level-1 descriptors stay */
  dropContext(sid: number, ssid: number, leaf: boolean): void {
    this.#forgetLast();
    const stream = this.#streams.get(sid);
    stream?.contexts.drop(ssid);
    if (!leaf) {
      stream?.level1.clear();
    }
  }

  /** CFGI_CD_ALL. */
  dropContexts(sid: number): void {
    this.#forgetLast();
    const stream = this.#streams.get(sid);
    stream?.contexts.clear();
    stream?.level1.clear();
  }

  /** CFGI_ALL. */
  clear(): void {
    this.#forgetLast();
    this.#level1.clear();
    this.#streams.clear();
  }

  #forgetLast(): void {
    this.#lastSid = -1;
    this.#lastSsid = -1;
  }

  digest(into: Digest): void {
    for (const part of [this.#retention, this.#level1, this.#streams]) {
      part.digest(into);
    }
  }
}

function fresh<T extends Digestible>(
  retention: Retention,
  cache: EntryCache<T> | undefined,
  key: number,
  type: new () => T,
): T | undefined {
  if (cache === undefined || !retention.keeps()) {
    return undefined;
  }
  const entry = new type();
  cache.set(key, entry);
  return entry;
}
