// The golden vectors of the formats, checked by libraries that share nothing with this project: every leaf and proof
// by the static `verify` of @openzeppelin/merkle-tree, every tree's root by merkletreejs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { SimpleMerkleTree, StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { concatBytes, hexToBytes, utf8ToBytes } from "ethereum-cryptography/utils.js";
import { faultOf } from "./completeness.mjs";
import {
  MANIFEST_TYPE,
  MARK_TYPE,
  SALE_TYPE,
  commitment,
  hashOf,
  isCommitment,
  marksHash,
  nextHead,
  node,
  standardLeaf,
  treeRoot,
  zero,
} from "./formats.mjs";

const FOLDER = new URL("../../proofs/vectors/", import.meta.url);
const MAX_SIBLINGS = 64;
test("every leaf is the standard leaf of its fields", () => {
  const { saleType, saleTypehash, cases } = read("leaves.json");
  assert.equal(saleType, SALE_TYPE);
  assert.equal(saleTypehash, hashOf(utf8ToBytes(SALE_TYPE)));
  assert.ok(cases.length > 60);
  for (const { name, sale, hashStruct, leaf } of cases) {
    assert.ok(isCommitment(SALE_TYPE, sale, leaf), name);
    assert.equal(hashOf(hexToBytes(hashStruct.slice(2))), leaf, name);
  }
});

test("every details text has its hash and is its own canonical form", () => {
  const { valid } = read("details.json");
  assert.ok(valid.length > 0);
  for (const { name, text, hash } of valid) {
    assert.equal(hashOf(utf8ToBytes(text)), hash, name);
    assert.equal(canonical(JSON.parse(text)), text, name);
  }
});

test("every tree has its root and all its proofs", () => {
  const trees = [...read("trees.json").trees, ...read("tree-1000.json").trees];
  assert.deepEqual(trees.map(({ count }) => count), [1, 2, 3, 4, 5, 7, 8, 9, 100, 1000]);
  for (const vector of trees) {
    assert.deepEqual(vector.leaves, checkTree(vector), `${vector.count} leaves`);
    assert.equal(vector.proofs.length, vector.count);
    vector.proofs.forEach((proof, i) => checkProof(vector.root, vector.leaves[i], proof, vector.manifestHash));
  }
});

test("the tree of 65,537 leaves has its root and the sampled proofs", () => {
  const vector = read("tree-65537.json");
  assert.equal(vector.count, 65_537);
  assert.equal(vector.samples.length, 64);
  const leaves = checkTree(vector);
  for (const { index, leaf, proof } of vector.samples) {
    assert.equal(leaves[index], leaf);
    checkProof(vector.root, leaf, proof, vector.manifestHash);
  }
});

test("the chain of batches follows from its manifests, marks and sales", () => {
  const { batches, ...types } = read("chain.json");
  assert.deepEqual(types, {
    manifestType: MANIFEST_TYPE,
    manifestTypehash: hashOf(utf8ToBytes(MANIFEST_TYPE)),
    markType: MARK_TYPE,
    markTypehash: hashOf(utf8ToBytes(MARK_TYPE)),
  });
  assert.equal(batches.length, 4);
  const runs = new Map();
  let previous = zero(32);
  batches.forEach((batch, i) => {
    const { manifest } = batch.file;
    assert.equal(manifest.batch, String(i + 1));
    assert.equal(manifest.previous, previous);
    checkManifest(batch);
    checkMarks(batch, runs);
    for (const { sale, leaf, index, proof } of batch.sales) {
      assert.ok(isCommitment(SALE_TYPE, sale, leaf));
      assert.equal(batch.file.leaves[index], leaf);
      assert.ok(StandardMerkleTree.verify(batch.root, ...standardLeaf(SALE_TYPE, sale), proof));
      checkProof(batch.root, leaf, proof, batch.manifestHash);
      for (const other of batches.filter((one) => one !== batch)) {
        assert.ok(!SimpleMerkleTree.verify(other.root, leaf, proof), "a proof holds in its own batch alone");
      }
    }
    previous = batch.root;
  });
});

test("negative proofs fail, but for those that only fields or the number of siblings rule out", () => {
  const { proofs, equalLeaves } = read("negative.json");
  const leading = [];
  for (const { name, leaf, proof, root, leadsToRoot } of proofs) {
    assert.equal(SimpleMerkleTree.verify(root, leaf, proof), leadsToRoot, name);
    if (leadsToRoot && proof.length > 0 && proof.length <= MAX_SIBLINGS) leading.push(name);
  }
  assert.ok(proofs.length >= 15);
  assert.deepEqual(leading, ["inner node as leaf", "tree root as leaf"]);
  assert.ok(new Set(equalLeaves).size < equalLeaves.length);
});

test("each negative proof is a valid one with the fault that its name says, and no other", () => {
  const cases = new Map(read("negative.json").proofs.map(({ name, leaf, proof, root }) => [name, [leaf, proof, root]]));
  const [leaf, [second, first, ...rest], root] = cases.get("two siblings exchanged");
  const proof = [first, second, ...rest];
  assert.ok(SimpleMerkleTree.verify(root, leaf, proof), "the valid one");
  const parent = node(leaf, first);
  const faults = {
    "inner node as leaf": [parent, proof.slice(1), root],
    "tree root as leaf": [proof.slice(1, -1).reduce(node, parent), proof.slice(-1), root],
    "too short: the root itself, without a sibling": [root, [], root],
    "too short: the first sibling left out": [leaf, proof.slice(1), root],
    "too short: the manifest left out": [leaf, proof.slice(0, -1), root],
    "too long: the manifest twice": [leaf, [...proof, proof.at(-1)], root],
    "a batch that was never anchored": [leaf, proof, zero(32)],
  };
  for (const [name, fault] of Object.entries(faults)) assert.deepEqual(cases.get(name), fault, name);
  for (const what of ["the leaf", "a sibling", "the manifest", "the root"]) {
    const name = `one bit of ${what} changed`;
    assert.equal(differingBits([leaf, ...proof, root], cases.get(name).flat()), 1, name);
  }
  assert.equal(cases.get("too long: 65 siblings")[1].length, MAX_SIBLINGS + 1);
  assert.deepEqual(cases.get("another leaf of the batch").slice(1), [proof, root]);
  assert.deepEqual(cases.get("wrong batch").slice(0, 2), [leaf, proof]);
});

test("a merchant's rows are complete exactly where the vectors say so", () => {
  const { merchant, cases } = read("completeness.json");
  assert.ok(cases.some(({ complete }) => complete) && cases.some(({ complete }) => !complete));
  for (const { name, rows, batches, anchored, complete } of cases) {
    const fault = faultOf(merchant, rows, batches, anchored);
    assert.equal(fault === undefined, complete, `${name}: ${fault}`);
  }
});

test("a valid receipt leads from its fields to its root, and one that fails does not", () => {
  const { valid, failing } = read("receipts.json");
  assert.ok(valid.length > 0 && failing.length > 0);
  for (const { name, text, leaf, root } of valid) {
    const { sale, details, proof } = JSON.parse(text);
    assert.ok(isCommitment(SALE_TYPE, sale, leaf), name);
    if (details !== undefined) assert.equal(hashOf(utf8ToBytes(details)), sale.details, name);
    if (root) assert.ok(StandardMerkleTree.verify(root, ...standardLeaf(SALE_TYPE, sale), proof), name);
  }
  for (const { name, text, failed } of failing) {
    const { sale, details, proof, batch } = JSON.parse(text);
    const isIncluded = StandardMerkleTree.verify(batch.root, ...standardLeaf(SALE_TYPE, sale), proof);
    assert.equal(isIncluded, !failed.includes("proof"), name);
    assert.equal(hashOf(utf8ToBytes(details)) === sale.details, !failed.includes("details hash"), name);
  }
});

/** Rebuilds a tree from the seed of its leaves and checks both its roots; the leaves, sorted. */
function checkTree({ count, seed, tree, manifestHash, root }) {
  const leaves = Array.from({ length: count }, (_, i) => {
    const number = new Uint8Array(8);
    new DataView(number.buffer).setBigUint64(0, BigInt(i));
    return hashOf(concatBytes(hexToBytes(seed.slice(2)), number));
  });
  assert.equal(treeRoot(leaves), tree, `root of ${count} leaves`);
  assert.equal(node(tree, manifestHash), root, `anchored root of ${count} leaves`);
  return leaves.sort();
}

function checkProof(root, leaf, proof, manifestHash) {
  assert.ok(SimpleMerkleTree.verify(root, leaf, proof), `proof of ${leaf}`);
  assert.equal(proof.at(-1), manifestHash);
}

/** A batch's root from its file: leaves to the tree's root, that and the marks into the manifest, both to R. */
function checkManifest({ file: { manifest, marks, leaves }, markHashes, manifestHash, root }) {
  assert.equal(treeRoot(leaves), manifest.tree);
  assert.equal(String(leaves.length), manifest.leaves);
  assert.equal(markHashes.length, marks.length);
  assert.deepEqual(markHashes, marks.map((mark) => commitment(MARK_TYPE, mark)));
  assert.equal(marksHash(marks), manifest.marks);
  assert.ok(isCommitment(MANIFEST_TYPE, manifest, manifestHash));
  assert.equal(node(manifest.tree, manifestHash), root);
}

/** The marks of a batch continue each merchant's run of numbers and running hash. */
function checkMarks({ file: { marks }, sales }, runs) {
  assert.deepEqual(marks.map(({ merchant }) => merchant), [...new Set(sales.map(({ sale }) => sale.merchant))].sort());
  for (const { merchant, firstSeq, lastSeq, head } of marks) {
    const run = runs.get(merchant) ?? { seq: 0n, head: zero(32) };
    assert.equal(BigInt(firstSeq), run.seq + 1n);
    const own = sales.filter(({ sale }) => sale.merchant === merchant);
    own.sort((a, b) => (BigInt(a.sale.seq) < BigInt(b.sale.seq) ? -1 : 1));
    for (const { sale, leaf } of own) {
      run.seq += 1n;
      assert.equal(BigInt(sale.seq), run.seq);
      run.head = nextHead(run.head, leaf);
    }
    assert.equal(BigInt(lastSeq), run.seq);
    assert.equal(head, run.head);
    runs.set(merchant, run);
  }
}

function differingBits(hashes, others) {
  assert.equal(hashes.length, others.length);
  const differences = hashes.map((hash, i) => (BigInt(hash) ^ BigInt(others[i])).toString(2));
  return differences.join("").replaceAll("0", "").length;
}

/** RFC 8785 of a value without numbers but small integers: keys by UTF-16 code units, as `sort` orders them. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

function read(name) {
  return JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"));
}
