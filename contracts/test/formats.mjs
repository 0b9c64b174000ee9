// The formats of proofs/SPEC.md by libraries that share nothing with this project: structs as standard leaves of
// @openzeppelin/merkle-tree, trees of merkletreejs.
import assert from "node:assert/strict";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { keccak256 } from "ethereum-cryptography/keccak.js";
import { bytesToHex, hexToBytes, utf8ToBytes } from "ethereum-cryptography/utils.js";
import { MerkleTree } from "merkletreejs";

export const SALE_TYPE =
  "Sale(bytes16 merchant,bytes16 sale,uint64 seq,string orderId,uint8 kind,bytes16 refersTo,address customer," +
  "string currency,uint256 amount,uint64 recordedAt,bytes32 details,bytes32 salt)";
export const MANIFEST_TYPE =
  "Manifest(uint64 batch,bytes32 previous,bytes32 tree,uint64 leaves,uint64 sealedAt,address signer,bytes32 marks," +
  "bytes32 salt)";
export const MARK_TYPE = "Mark(bytes16 merchant,uint64 firstSeq,uint64 lastSeq,bytes32 head,bytes32 salt)";

/** Whether `hash` is keccak256 of the EIP-712 hashStruct of `value`, which is how this library hashes a leaf. */
export function isCommitment(type, value, hash) {
  return StandardMerkleTree.verify(hash, ...standardLeaf(type, value), []);
}

/** keccak256 of the EIP-712 hashStruct of `value`. */
export function commitment(type, value) {
  const [encoding, values] = standardLeaf(type, value);
  return StandardMerkleTree.of([values], encoding).root;
}

/** The encoding and the values of a struct as a standard leaf: its type hash in front, strings as their hashes. */
export function standardLeaf(type, value) {
  const fields = type.slice(type.indexOf("(") + 1, -1).split(",").map((field) => field.split(" "));
  assert.deepEqual(Object.keys(value), fields.map(([, name]) => name));
  const encoding = fields.map(([kind]) => (kind === "string" ? "bytes32" : kind));
  const values = fields.map(([kind, name]) => (kind === "string" ? hashOf(utf8ToBytes(value[name])) : value[name]));
  return [["bytes32", ...encoding], [hashOf(utf8ToBytes(type)), ...values]];
}

/** What a manifest commits to as `marks`. */
export function marksHash(marks) {
  const all = marks.map((mark) => mark.merchant.slice(2) + commitment(MARK_TYPE, mark).slice(2));
  return hashOf(hexToBytes(all.join("")));
}

/** A merchant's running hash after one more leaf. */
export function nextHead(head, leaf) {
  return hashOf(hexToBytes(head.slice(2) + leaf.slice(2)));
}

/** The root over the leaves alone (S). */
export function treeRoot(leaves) {
  const buffers = leaves.map((leaf) => Buffer.from(leaf.slice(2), "hex"));
  return new MerkleTree(buffers, (bytes) => Buffer.from(keccak256(bytes)), { sort: true }).getHexRoot();
}

/** The parent of two nodes: lower-case hex of one length sorts as its bytes do. */
export function node(a, b) {
  return hashOf(hexToBytes([a, b].sort().map((hash) => hash.slice(2)).join("")));
}

export function hashOf(bytes) {
  return `0x${bytesToHex(keccak256(bytes))}`;
}

export function zero(length) {
  return `0x${"00".repeat(length)}`;
}
