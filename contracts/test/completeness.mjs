// Whether a merchant's rows are exactly the sales that the anchored batches commit to: a second implementation, which
// says no more than what is wrong first.
import { MANIFEST_TYPE, SALE_TYPE, commitment, marksHash, nextHead, node, treeRoot, zero } from "./formats.mjs";

/** What is wrong with the rows of a merchant, or with the batches from the first on; undefined where nothing is. */
export function faultOf(merchant, rows, batches, anchored) {
  const sorted = [...rows].sort((a, b) => (BigInt(a.seq) < BigInt(b.seq) ? -1 : 1));
  let run = { sales: 0, head: zero(32) };
  let previous = zero(32);
  for (const [i, file] of batches.entries()) {
    const root = node(file.manifest.tree, commitment(MANIFEST_TYPE, file.manifest));
    const fault = faultOfFile(file) ?? faultOfPlace(file.manifest, i + 1, previous, root, anchored);
    if (fault) return `batch ${i + 1}: ${fault}`;
    previous = root;
    const mark = file.marks.find((one) => one.merchant === merchant);
    if (!mark) continue;
    if (BigInt(mark.firstSeq) !== BigInt(run.sales) + 1n) return `batch ${i + 1}: the run does not continue`;
    run = follow(run, sorted.slice(run.sales, Number(mark.lastSeq)), new Set(file.leaves));
    if (BigInt(mark.lastSeq) !== BigInt(run.sales)) return `batch ${i + 1}: the rows end at ${run.sales}`;
    if (mark.head !== run.head) return `batch ${i + 1}: the running hash is another`;
  }
  if (anchored.length > batches.length) return "the chain has a batch more";
  if (rows.some((row) => row.merchant !== merchant)) return "a row of another merchant";
  if (rows.length !== run.sales) return `${rows.length} rows for ${run.sales} sales`;
  return undefined;
}

/** Whether the parts of a batch file agree with each other. */
function faultOfFile({ manifest, marks, leaves }) {
  const runs = marks.reduce((sum, { firstSeq, lastSeq }) => sum + BigInt(lastSeq) - BigInt(firstSeq) + 1n, 0n);
  const ascend = (list) => list.every((one, i) => i === 0 || list[i - 1] < one);
  if (!ascend(leaves)) return "the leaves do not ascend";
  if (!ascend(marks.map(({ merchant }) => merchant))) return "the merchants do not ascend";
  if (BigInt(manifest.leaves) !== BigInt(leaves.length)) return "another number of leaves";
  if (runs !== BigInt(leaves.length)) return "the runs are not as long as the batch";
  if (treeRoot(leaves) !== manifest.tree) return "the leaves have another root";
  if (marksHash(marks) !== manifest.marks) return "the marks are others";
  return undefined;
}

/** Whether a batch is the one that belongs here, by its number, the root before it and the chain. */
function faultOfPlace(manifest, number, previous, root, anchored) {
  if (manifest.batch !== String(number)) return `its number is ${manifest.batch}`;
  if (manifest.previous !== previous) return "it follows another root";
  if (anchored[number - 1] !== root) return "the chain has another root";
  return undefined;
}

/** Continues a merchant's run over the rows of one batch, as far as they are numbered on and are leaves of it. */
function follow({ sales, head }, rows, leaves) {
  for (const row of rows) {
    const leaf = commitment(SALE_TYPE, row);
    if (BigInt(row.seq) !== BigInt(sales) + 1n || !leaves.has(leaf)) break;
    sales += 1;
    head = nextHead(head, leaf);
  }
  return { sales, head };
}
