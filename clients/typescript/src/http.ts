/** tokenhub said no, and says the same when asked again: `type` is stable, `message` is for developers. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";

  constructor(
    readonly status: number,
    /** The last part of `urn:tokenhub:problem:…`, e.g. `user-token-expired`. */
    readonly type: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** tokenhub did not answer, or asked to come later, for all attempts. Nothing is lost: what is to be told is kept. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
}

export interface Transport {
  url: string;
  key: string;
  fetch: typeof fetch;
  /** Wait for so many milliseconds. */
  wait: (milliseconds: number) => Promise<void>;
  attempts: number;
  /** Milliseconds that one attempt may take. */
  timeout: number;
}

const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 60_000;
const LATER = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * Post `body` and return the parsed answer. What may pass is tried again, after the time that the server asks for or a
 * doubling one, with some chance in it: all phones got the same answer. Who is asked to wait for more than a minute
 * does not wait: the next launch comes.
 *
 * @throws ProblemError where trying again is no use; UnreachableError after the last attempt.
 */
export async function post(transport: Transport, path: string, body: unknown, secret: string | null): Promise<unknown> {
  const headers: Record<string, string> = {
    Authorization: `Bearer ${transport.key}`,
    "Content-Type": "application/json",
    Accept: "application/json",
  };
  if (secret !== null) headers["Installation-Secret"] = secret;
  let reason = "";
  for (let attempt = 0; attempt < transport.attempts; attempt += 1) {
    if (attempt > 0) {
      if (secondsOf(reason) > LONGEST_WAIT / 1_000) break;
      await transport.wait(waitFor(attempt, reason));
    }
    const answer = await once(transport, path, { method: "POST", headers, body: JSON.stringify(body) });
    if (answer === null) {
      reason = "";
    } else if (answer.ok) {
      return await answer.json();
    } else if (LATER.has(answer.status)) {
      reason = answer.headers.get("Retry-After") ?? "";
    } else {
      throw await problemOf(answer);
    }
  }
  throw new UnreachableError(`tokenhub did not take the call in ${transport.attempts} attempts`);
}

async function once(transport: Transport, path: string, init: RequestInit): Promise<Response | null> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), transport.timeout);
  try {
    return await transport.fetch(`${transport.url}/api/v1/${path}`, { ...init, signal: controller.signal });
  } catch {
    return null; // no network, no server, no answer in time: all the same to us
  } finally {
    clearTimeout(timer);
  }
}

function secondsOf(retryAfter: string): number {
  return /^\d+$/.test(retryAfter) ? Number(retryAfter) : 0;
}

function waitFor(attempt: number, retryAfter: string): number {
  const asked = secondsOf(retryAfter) * 1_000 || FIRST_WAIT * 2 ** (attempt - 1);
  return Math.min(asked, LONGEST_WAIT) * (1 + Math.random() / 2);
}

async function problemOf(answer: Response): Promise<ProblemError> {
  let problem: { type?: unknown; detail?: unknown } = {};
  try {
    problem = (await answer.json()) as typeof problem;
  } catch {
    // A proxy in between may answer in its own words.
  }
  const type = typeof problem.type === "string" ? (problem.type.split(":").pop() ?? "") : "";
  return new ProblemError(answer.status, type, typeof problem.detail === "string" ? problem.detail : `HTTP ${answer.status}`);
}
