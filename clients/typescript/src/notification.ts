/** What Customer Insights - Journeys puts into a notification's data. */
export interface Notification {
  /** Names the notification in reports; null for a test send, which is not reported. */
  trackingId: string | null;
  /** Where a tap leads, if anywhere. */
  link: string | null;
}

const NO_TRACKING = "00000000-0000-0000-0000-000000000000";

/**
 * Read the data of a notification, as the push library hands it out.
 *
 * `link` is a redirect by which a click is noted: it needs the user's consent to tracking. Without it the tap leads to
 * `originalLink`. On iOS the fields may lie one level deeper, in `data`.
 */
export function readNotification(payload: unknown, trackingConsent: boolean): Notification {
  const outer = fieldsOf(payload);
  const data = "data" in outer ? fieldsOf(outer.data) : outer;
  const trackingId = textOf(data.trackingId);
  return {
    trackingId: trackingId === NO_TRACKING ? null : trackingId,
    link: trackingConsent ? (textOf(data.link) ?? textOf(data.originalLink)) : textOf(data.originalLink),
  };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value === "string") {
    try {
      return fieldsOf(JSON.parse(value));
    } catch {
      return {};
    }
  }
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value.trim() !== "" ? value.trim() : null;
}
