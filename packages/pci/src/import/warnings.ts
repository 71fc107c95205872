const MOST = 20;

/** Warnings with line numbers: the first twenty, and how many more there were. */
export class Warnings {
  readonly #list: string[] = [];
  #more = 0;

  /** Notes what is odd about a line, counted from 1. */
  add(line: number, what: string): void {
    if (this.#list.length < MOST) {
      this.#list.push(`line ${line}: ${what}`);
    } else {
      this.#more += 1;
    }
  }

  /** All of them, with a last line about those that were too many. */
  list(): readonly string[] {
    return this.#more === 0 ? this.#list : [...this.#list, `… and ${this.#more} more warnings`];
  }
}
