import { post, ProblemError, type Transport } from "./http.js";

/** Where the client keeps what it must not forget; AsyncStorage of React Native fits. */
export interface Storage {
  getItem(key: string): Promise<string | null> | string | null;
  setItem(key: string, value: string): Promise<void> | void;
}

export interface Options {
  /** Of your tokenhub, e.g. `https://push.example.com`. */
  url: string;
  /** The app's mobile key, `thub_mob_…`. */
  key: string;
  platform: "ios" | "android";
  /** For the installation's id and unsent events. */
  storage: Storage;
  /**
   * For the installation's secret: Keychain or Keystore, on this device only and in no backup, since a restored one
   * would be a second phone with the same id. Default: `storage`.
   */
  secrets?: Storage;
  /** Attempts of one call; the next launch begins anew. Default: 4. */
  attempts?: number;
  /** Milliseconds that one attempt may take. Default: 15,000. */
  timeout?: number;
  fetch?: typeof fetch;
  wait?: (milliseconds: number) => Promise<void>;
  /** A random UUID; needed where there is no `crypto.randomUUID`. */
  newId?: () => string;
}

/** A user, by the token that your identity provider signed or, under the policy `unverified`, by your own id of them. */
export type Who = { token: string } | { id: string; email?: string | null; phone?: string | null };

export interface Info {
  app_version?: string;
  os_version?: string;
  model?: string;
  locale?: string;
  time_zone?: string;
}

export interface Launch {
  /** iOS: the raw APNs token as hex. Android: the FCM token. */
  token: string;
  /** Who is signed in; null: nobody; left out: as before. */
  user?: (Who & { push_consent?: boolean; tracking_consent?: boolean }) | null;
  info?: Info;
}

export type Result = "created" | "updated" | "unchanged" | "stale";

interface Event {
  tracking_id: string;
  status: "opened";
  occurred_at: string;
  message_id: string;
}

interface State {
  installationId: string;
  sequence: number;
  /** A sign-out that tokenhub was not told of yet. */
  signOut: boolean;
  events: Event[];
}

interface EventResult {
  result: string;
  errors?: { field: string }[];
}

function isUnproven(result: EventResult | undefined): boolean {
  return result?.errors?.some((error) => error.field === "installation_id") ?? false;
}

const STATE = "tokenhub.state";
const SECRET = "tokenhub.secret";
const MOST_EVENTS = 1_000;
const EVENTS_A_CALL = 100;
/** The installation is not ours any more: another phone has it (a restored backup), or its secret is lost. */
const NOT_OURS = new Set(["shared-installation", "installation-secret"]);

/**
 * One installation of the app. Calls wait for each other, so that no launch overtakes a sign-out, and each carries a
 * number, so that tokenhub knows the later one even where the network turned them round.
 */
export class TokenHub {
  readonly #options: Options;
  readonly #transport: Transport;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: Options) {
    this.#options = options;
    this.#transport = {
      url: options.url.replace(/\/+$/, ""),
      key: options.key,
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
      wait: options.wait ?? ((milliseconds) => new Promise((done) => setTimeout(done, milliseconds))),
      attempts: options.attempts ?? 4,
      timeout: options.timeout ?? 15_000,
    };
  }

  /**
   * Tell tokenhub of this phone: on every launch, when the token changes, when somebody signs in. Sends what could not
   * be sent before, too.
   *
   * @throws ProblemError, e.g. `user-token-expired`: fetch a new one and call again. UnreachableError: the next launch
   * tells it again.
   */
  launch(launch: Launch): Promise<Result> {
    return this.#inTurn(async () => {
      // Else whoever is signed in now is said with the launch.
      if (launch.user === undefined) await this.#tellSignOut(await this.#state());
      const result = await this.#post(launch);
      await this.#sendEvents();
      return result;
    });
  }

  /**
   * Nobody is signed in any more. Noted before anything is sent: without a network the next call tells it, before
   * anything else.
   */
  signOut(): Promise<void> {
    return this.#inTurn(async () => {
      const state = await this.#state();
      state.signOut = true;
      await this.#keep(state);
      await this.#tellSignOut(state);
    });
  }

  /** The user opened a notification. `trackingId` is `readNotification`'s; of a test send nothing is reported. */
  async opened(trackingId: string | null): Promise<void> {
    if (trackingId === null) return;
    await this.#inTurn(async () => {
      const state = await this.#state();
      const event: Event = {
        tracking_id: trackingId,
        status: "opened",
        occurred_at: new Date().toISOString(),
        message_id: this.#newId(),
      };
      state.events = [...state.events, event].slice(-MOST_EVENTS);
      await this.#keep(state);
    });
    await this.flush().catch(() => undefined); // it is kept, and goes with the next launch
  }

  /** Send what waits: call it when the network is back. Returns how many events still wait. */
  flush(): Promise<number> {
    return this.#inTurn(async () => {
      await this.#tellSignOut(await this.#state());
      await this.#sendEvents();
      return (await this.#state()).events.length;
    });
  }

  /** The installation's id, e.g. to show it to your support. */
  async installationId(): Promise<string> {
    return (await this.#state()).installationId;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #post(launch: Launch, again = true): Promise<Result> {
    const state = await this.#state();
    state.sequence += 1;
    await this.#keep(state); // before it is sent: a number is never used twice
    const body: Record<string, unknown> = {
      installation_id: state.installationId,
      platform: this.#options.platform,
      token: launch.token,
      sequence: state.sequence,
      ...launch.info,
    };
    if (launch.user !== undefined) body.user = launch.user;
    try {
      const told = (await post(this.#transport, "devices", body, await this.#secret())) as Record<string, unknown>;
      if (typeof told.installation_secret === "string") await this.#secrets().setItem(SECRET, told.installation_secret);
      if (launch.user !== undefined && state.signOut) {
        state.signOut = false; // taken: whoever signed out before is not signed in any more
        await this.#keep(state);
      }
      return told.result as Result;
    } catch (error) {
      if (!again || !(error instanceof ProblemError) || !NOT_OURS.has(error.type)) throw error;
      await this.#beginAnew(state);
      return await this.#post(launch, false);
    }
  }

  async #tellSignOut(state: State): Promise<void> {
    if (!state.signOut) return;
    state.sequence += 1;
    await this.#keep(state);
    try {
      const path = `devices/${state.installationId}/sign-out`;
      await post(this.#transport, path, { sequence: state.sequence }, await this.#secret());
    } catch (error) {
      // Not known there, or not ours any more: then nobody is signed in on it by us.
      if (!(error instanceof ProblemError) || (error.status !== 404 && !NOT_OURS.has(error.type))) throw error;
    }
    state.signOut = false;
    await this.#keep(state);
  }

  async #sendEvents(): Promise<void> {
    const state = await this.#state();
    const unproven: Event[] = [];
    while (state.events.length > unproven.length) {
      const waiting = state.events.slice(unproven.length);
      const sent = waiting.slice(0, EVENTS_A_CALL);
      const body = sent.map((event) => ({ ...event, installation_id: state.installationId }));
      const told = (await post(this.#transport, "events", body, await this.#secret())) as { results: EventResult[] };
      // Taken, known already, or wrong, which it stays; without our secret they wait for a launch that begins anew.
      unproven.push(...sent.filter((_, number) => isUnproven(told.results[number])));
      state.events = [...unproven, ...waiting.slice(sent.length)];
      await this.#keep(state);
    }
  }

  async #beginAnew(state: State): Promise<void> {
    state.installationId = this.#newId();
    state.sequence = 0;
    await this.#secrets().setItem(SECRET, "");
    await this.#keep(state);
  }

  async #state(): Promise<State> {
    const kept = await this.#options.storage.getItem(STATE);
    if (kept) return JSON.parse(kept) as State;
    const state: State = { installationId: this.#newId(), sequence: 0, signOut: false, events: [] };
    await this.#keep(state);
    return state;
  }

  async #keep(state: State): Promise<void> {
    await this.#options.storage.setItem(STATE, JSON.stringify(state));
  }

  async #secret(): Promise<string | null> {
    return (await this.#secrets().getItem(SECRET)) || null;
  }

  #secrets(): Storage {
    return this.#options.secrets ?? this.#options.storage;
  }

  #newId(): string {
    return this.#options.newId?.() ?? globalThis.crypto.randomUUID();
  }
}
