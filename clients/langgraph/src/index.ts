export { TidemarkSaver, type SaverOptions } from "./saver.js";
export { TidemarkStore, type StoreOptions } from "./store.js";
