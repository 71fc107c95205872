import type { Op } from "@iommu-lab/core";

/** An operation during which somebody else acts: at each of its preemption points and waits, before it goes on. */
export function* disturbed<T>(op: Op<T>, act: () => void): Op<T> {
  let step = op.next();
  while (step.done !== true) {
    yield step.value;
    act();
    step = op.next();
  }
  return step.value;
}

/** What {@link judgeSites} needs to know. */
export interface SiteProof<Site extends string> {
  /** Every place in a driver that invalidates something. */
  readonly sites: readonly Site[];
  /** Places that nothing needs, and the specification's rule why. */
  readonly redundant: Readonly<Record<string, string>>;
  /**
   * Plays all scenarios while one place sends nothing.
   *
   * @param drop the place; undefined = all send
   * @returns what was stale, in words
   */
  readonly play: (drop: Site | undefined) => readonly string[];
}

/**
 * Whether every invalidation of a driver is needed: without it something stale is found, or it stands in a list with the
 * rule that makes it redundant; and whether nothing is stale while all are sent.
 *
 * @returns what is wrong, one line each
 */
export function judgeSites<Site extends string>({ sites, redundant, play }: SiteProof<Site>): readonly string[] {
  const wrong = play(undefined).map((what) => `with every invalidation sent: ${what}`);
  for (const site of sites) {
    const stale = play(site);
    const listed = Object.hasOwn(redundant, site);
    if (stale.length === 0 && !listed) {
      wrong.push(`${site}: nothing is stale without it, and no rule says why`);
    } else if (stale.length > 0 && listed) {
      wrong.push(`${site}: listed as redundant, but without it ${stale[0]}`);
    }
  }
  const known: readonly string[] = sites;
  return [
    ...wrong,
    ...Object.keys(redundant)
      .filter((site) => !known.includes(site))
      .map((site) => `${site}: listed as redundant, but the driver has no such place`),
  ];
}
