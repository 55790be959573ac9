export { TokenHub } from "./client.js";
export type { Info, Launch, Options, Result, Storage, Who } from "./client.js";
export { ProblemError, UnreachableError } from "./http.js";
export { readNotification } from "./notification.js";
export type { Notification } from "./notification.js";
