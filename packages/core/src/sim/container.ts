import "./reflect.ts";
import type { DependencyContainer, InjectionToken } from "tsyringe";
import { container, inject, injectable, instanceCachingFactory } from "tsyringe";

declare const service: unique symbol;

/** The mark that ties a token to the type of its service; it exists for the compiler alone. */
export interface Service<T> {
  /** The type of the service. */
  readonly [service]: T;
}

/** A typed key under which one service is registered. */
export type Token<T> = symbol & Service<T>;

/** The tokens of a list of services. */
export type Tokens<A extends readonly unknown[]> = { readonly [K in keyof A]: Token<A[K]> };

/**
 * Makes the key of a service. Two copies of a package that use the same name share the key.
 *
 * @param name dotted, such as `pci.fabric`; it appears in errors
 */
export function token<T>(name: string): Token<T> {
  return Symbol.for(`iommu-lab:${name}`) as Token<T>;
}

/**
 * Tells the container which services the constructor wants. The compiler checks the tokens against the parameters, and
 * it works without decorators or emitted metadata.
 *
 * @example
 * ```ts
 * injects(Fabric, MEMORY, TRACE);
 * ```
 */
export function injects<A extends readonly unknown[]>(target: new (...args: A) => unknown, ...tokens: Tokens<A>): void {
  for (const [index, key] of tokens.entries()) {
    inject(key as InjectionToken)(target, undefined, index);
  }
  injectable()(target);
}

/** One platform's services. Every platform has a container of its own; two platforms share nothing. */
export class PlatformHost {
  readonly #container: DependencyContainer = container.createChildContainer();
  readonly #lists = new Map<symbol, unknown[]>();

  /** Registers a class as a singleton of this platform. */
  bind<T, A extends readonly unknown[]>(key: Token<T>, target: new (...args: A) => T, ...needs: Tokens<A>): void {
    injects(target, ...needs);
    this.#container.registerSingleton<T>(key as InjectionToken<T>, target as unknown as new (...args: unknown[]) => T);
  }

  /** Registers a factory; it runs once, at the first {@link PlatformHost.get}. */
  provide<T>(key: Token<T>, factory: (host: PlatformHost) => T): void {
    this.#container.register<T>(key, { useFactory: instanceCachingFactory(() => factory(this)) });
  }

  /** Whether a service is registered. */
  has(key: Token<unknown>): boolean {
    return this.#container.isRegistered(key as InjectionToken);
  }

  /** The service. Resolve at set-up, never on a hot path. @throws Error that names an unknown token */
  get<T>(key: Token<T>): T {
    if (!this.has(key)) {
      throw new Error(`no plugin provides ${String(key.description)}`);
    }
    return this.#container.resolve<T>(key);
  }

  /** Adds an element to the list kept under the token. */
  add<T>(key: Token<readonly T[]>, element: T): void {
    const list = this.#lists.get(key);
    if (list === undefined) {
      this.#lists.set(key, [element]);
    } else {
      list.push(element);
    }
  }

  /** The elements added so far, in order. */
  all<T>(key: Token<readonly T[]>): readonly T[] {
    return (this.#lists.get(key) ?? []) as T[];
  }
}
