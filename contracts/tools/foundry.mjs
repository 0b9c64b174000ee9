import { createRequire } from "node:module";

const ARCHITECTURES = { x64: "amd64", arm64: "arm64" };
const SYSTEMS = { linux: "linux", darwin: "darwin", win32: "win32" };

/** Path of a Foundry binary ("forge", "anvil") in the npm package that carries it for this system. */
export function binary(tool) {
  const platform = `${SYSTEMS[process.platform]}-${ARCHITECTURES[process.arch]}`;
  const file = process.platform === "win32" ? `${tool}.exe` : tool;
  return createRequire(import.meta.url).resolve(`@foundry-rs/${tool}-${platform}/bin/${file}`);
}
