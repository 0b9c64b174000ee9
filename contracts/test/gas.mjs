// What the registry costs on a chain: deploys the committed artifact to a local chain of this process, anchors, and
// holds the receipts' `gasUsed` against the bounds. test/Gas.t.sol measures the same inside forge.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const ONE_BATCH = 52_200n;
const FURTHER_BATCH = 25_000n;
const FIRST = 0x1111111111111111n;

const ROOT = new URL("../", import.meta.url);
const artifact = JSON.parse(readFileSync(new URL("artifacts/CounterfoilRegistry.json", ROOT), "utf8"));

const anvil = spawn(new URL("node_modules/.bin/anvil", ROOT).pathname, ["--port", "0"], {
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  await measure(await listening(anvil));
} finally {
  anvil.kill();
}

async function measure(url) {
  const rpc = client(url);
  const [owner, publisher] = await rpc("eth_accounts");
  const deployed = await send(rpc, {
    from: owner,
    data: artifact.bytecode + [owner, publisher, FIRST].map(word).join(""),
  });
  const registry = deployed.contractAddress;
  assert.equal(await rpc("eth_getCode", registry, "latest"), artifact.deployedBytecode);

  const anchor = async (first, count) => {
    const data = `0x${artifact.methodIdentifiers["anchor(uint64,bytes32[])"]}${anchorArguments(first, count)}`;
    return BigInt((await send(rpc, { from: publisher, to: registry, data })).gasUsed);
  };
  await anchor(FIRST, 1n);
  const one = await anchor(FIRST + 1n, 1n);
  const two = await anchor(FIRST + 2n, 2n);
  const most = await anchor(FIRST + 4n, 256n);
  report("deployment", BigInt(deployed.gasUsed));
  report("one batch in steady state", one, ONE_BATCH);
  report("the second batch of a call", two - one, FURTHER_BATCH);
  report("each further batch of a call of 256", (most - one + 254n) / 255n, FURTHER_BATCH);
}

function report(what, gas, bound) {
  console.log(`${what}: ${gas} gas${bound ? ` (at most ${bound})` : ""}`);
  assert.ok(!bound || gas <= bound, `${what} costs ${gas} gas, more than ${bound}`);
}

/** ABI encoding of (uint64, bytes32[]), with roots that have no zero byte: the dearest calldata there is. */
function anchorArguments(first, count) {
  const roots = Array.from({ length: Number(count) }, (_, i) => dearRoot(i));
  return [first, 64n, count].map(word).join("") + roots.join("");
}

/** Root number `index` of 256, each byte of it 0x10 to 0x1f. */
function dearRoot(index) {
  return [...index.toString(16).padStart(2, "0")].map((digit) => `1${digit}`).join("").repeat(16);
}

function word(value) {
  return BigInt(value).toString(16).padStart(64, "0");
}

/** Sends a transaction from one of the chain's own accounts; its receipt, once mined and only if it succeeded. */
async function send(rpc, transaction) {
  const hash = await rpc("eth_sendTransaction", { gas: "0x1000000", ...transaction });
  for (let tries = 0; tries < 200; tries++) {
    const receipt = await rpc("eth_getTransactionReceipt", hash);
    if (receipt) {
      assert.equal(receipt.status, "0x1", `transaction ${hash} reverted`);
      return receipt;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`transaction ${hash} was not mined`);
}

function client(url) {
  return async (method, ...params) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
    const { result, error } = await response.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
}

/** The chain's address, once it says that it listens. */
async function listening(child) {
  for await (const line of createInterface({ input: child.stdout })) {
    const at = line.match(/^Listening on (\S+)/);
    if (at) return `http://${at[1]}`;
  }
  throw new Error("the chain ended before it listened");
}
