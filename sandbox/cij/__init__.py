"""CI-J's push API (customer-insights, ci-docs/journeys/developer-push-device-registration.md and -interactions.md)."""
