// What the guide uses of others' libraries, as far as it does.
declare module "@react-native-async-storage/async-storage" {
  const storage: { getItem(key: string): Promise<string | null>; setItem(key: string, value: string): Promise<void> };
  export default storage;
}
declare module "react-native-keychain" {
  export const ACCESSIBLE: { AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: string };
  export function getGenericPassword(options: { service: string }): Promise<false | { password: string }>;
  export function setGenericPassword(
    user: string,
    password: string,
    options: { service: string; accessible: string },
  ): Promise<unknown>;
}
declare module "@react-native-firebase/messaging" {
  type Message = { data?: { [name: string]: unknown } };
  interface Messaging {
    getToken(): Promise<string>;
    getAPNSToken(): Promise<string | null>;
    requestPermission(): Promise<number>;
    onTokenRefresh(listener: (token: string) => void): () => void;
    onNotificationOpenedApp(listener: (message: Message) => void): () => void;
    getInitialNotification(): Promise<Message | null>;
  }
  export default function messaging(): Messaging;
}
declare module "@react-native-community/netinfo" {
  const net: { addEventListener(listener: (state: { isConnected: boolean | null }) => void): () => void };
  export default net;
}
declare module "react-native" {
  export const Platform: { OS: "ios" | "android" };
  export const Linking: { openURL(url: string): Promise<unknown> };
}
