/**
 * Which results a unit keeps: everything the architecture allows, so that a forgotten invalidation shows, or nothing.
 */
export type CachePolicy = "keep-all" | "none";
