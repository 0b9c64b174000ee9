// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {ICounterfoilRegistry} from "../src/ICounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev The golden vectors of the formats, as the registry sees them.
contract VectorsTest is RegistryTest {
    string private constant FOLDER = "../proofs/vectors/";
    string private constant SALE =
        "Sale(bytes16 merchant,bytes16 sale,uint64 seq,string orderId,uint8 kind,bytes16 refersTo,address customer,string currency,uint256 amount,uint64 recordedAt,bytes32 details,bytes32 salt)";
    string private constant MANIFEST =
        "Manifest(uint64 batch,bytes32 previous,bytes32 tree,uint64 leaves,uint64 sealedAt,address signer,bytes32 marks,bytes32 salt)";
    string private constant MARK = "Mark(bytes16 merchant,uint64 firstSeq,uint64 lastSeq,bytes32 head,bytes32 salt)";

    string private constant LEAF_CASE = "LeafCase(string name,Sale sale,bytes32 hashStruct,bytes32 leaf)";
    string private constant SEALED = "Sealed(Sale sale,bytes32 leaf,bytes32[] proof)";
    string private constant PROOF = "Proof(bytes32 leaf,bytes32[] proof)";
    string private constant NEGATIVE =
        "Negative(string name,bytes32 leaf,bytes32[] proof,bytes32 root,bool leadsToRoot)";

    struct Manifest {
        uint64 batch;
        bytes32 previous;
        bytes32 tree;
        uint64 leaves;
        uint64 sealedAt;
        address signer;
        bytes32 marks;
        bytes32 salt;
    }

    struct Mark {
        bytes16 merchant;
        uint64 firstSeq;
        uint64 lastSeq;
        bytes32 head;
        bytes32 salt;
    }

    struct LeafCase {
        string name;
        ICounterfoilRegistry.Sale sale;
        bytes32 hashStruct;
        bytes32 leaf;
    }

    struct Sealed {
        ICounterfoilRegistry.Sale sale;
        bytes32 leaf;
        bytes32[] proof;
    }

    struct Proof {
        bytes32 leaf;
        bytes32[] proof;
    }

    struct Negative {
        string name;
        bytes32 leaf;
        bytes32[] proof;
        bytes32 root;
        bool leadsToRoot;
    }

    /// @dev As in every installation, batch 1 comes first.
    function setUp() public override {
        registry = new CounterfoilRegistry(OWNER, PUBLISHER, 1);
    }

    /// @dev Each leaf in a batch of its own, so that the registry accepts the fields only if it computes that leaf.
    function test_verifySale_computesEveryLeafOfVectors() public {
        string memory json = read("leaves.json");
        vm.assertEq(keccak256(bytes(vm.parseJsonString(json, ".saleType"))), registry.SALE_TYPEHASH());
        vm.assertEq(vm.parseJsonBytes32(json, ".saleTypehash"), registry.SALE_TYPEHASH());
        bytes memory encoded = vm.parseJsonTypeArray(json, ".cases", string.concat(LEAF_CASE, SALE));
        LeafCase[] memory cases = abi.decode(encoded, (LeafCase[]));
        vm.assertTrue(cases.length > 60, "all cases");

        bytes32 manifest = keccak256("manifest");
        for (uint256 i = 0; i < cases.length; i++) {
            LeafCase memory one = cases[i];
            vm.assertEq(one.hashStruct, vm.eip712HashStruct(SALE, abi.encode(one.sale)), one.name);
            vm.assertEq(one.leaf, leafOf(one.sale), one.name);
            uint64 batch = anchorNext(node(one.leaf, manifest));
            vm.assertTrue(registry.verifySale(batch, one.sale, listOf(manifest)), one.name);
        }
    }

    function test_verify_acceptsEveryProofOfTrees() public {
        string memory json = read("trees.json");
        for (uint256 i = 0; i < 9; i++) {
            checkTree(json, string.concat(".trees[", vm.toString(i), "]"));
        }
        checkTree(read("tree-1000.json"), ".trees[0]");
    }

    function test_verify_acceptsEverySampledProofOfLargeTree() public {
        string memory json = read("tree-65537.json");
        uint64 batch = anchorNext(vm.parseJsonBytes32(json, ".root"));
        Proof[] memory samples = abi.decode(vm.parseJsonTypeArray(json, ".samples", PROOF), (Proof[]));
        vm.assertEq(samples.length, 64);
        for (uint256 i = 0; i < samples.length; i++) {
            vm.assertTrue(registry.verify(batch, samples[i].leaf, samples[i].proof), vm.toString(i));
        }
    }

    function test_verifySale_acceptsEverySaleOfChain() public {
        string memory json = read("chain.json");
        for (uint64 batch = 1; batch <= 4; batch++) {
            anchor(batch, vm.parseJsonBytes32(json, string.concat(batchPath(batch), ".root")));
        }
        for (uint64 batch = 1; batch <= 4; batch++) {
            Sealed[] memory sales = sealedIn(json, batch);
            vm.assertTrue(sales.length > 0, "no sales");
            for (uint256 i = 0; i < sales.length; i++) {
                vm.assertTrue(registry.verifySale(batch, sales[i].sale, sales[i].proof), "its batch");
                vm.assertFalse(registry.verifySale(batch % 4 + 1, sales[i].sale, sales[i].proof), "another batch");
            }
        }
    }

    function test_manifests_leadToRootsOfChain() public view {
        string memory json = read("chain.json");
        bytes32 previous = 0;
        for (uint64 batch = 1; batch <= 4; batch++) {
            string memory path = batchPath(batch);
            bytes memory encoded = vm.parseJsonType(json, string.concat(path, ".file.manifest"), MANIFEST);
            Manifest memory manifest = abi.decode(encoded, (Manifest));
            vm.assertEq(manifest.batch, batch);
            vm.assertEq(manifest.previous, previous, "previous");
            vm.assertEq(manifest.marks, marksHash(json, path), "marks");
            bytes32 hash = keccak256(abi.encodePacked(vm.eip712HashStruct(MANIFEST, abi.encode(manifest))));
            vm.assertEq(hash, vm.parseJsonBytes32(json, string.concat(path, ".manifestHash")), "manifest");
            previous = node(manifest.tree, hash);
            vm.assertEq(previous, vm.parseJsonBytes32(json, string.concat(path, ".root")), "root");
        }
    }

    /// @dev A bare hash proves less than fields do: {ICounterfoilRegistry.verify} accepts whatever leads to the root
    /// by 1 to 64 siblings, an inner node and the tree's root too. {test_verifySale_refusesInnerNode} is how fields
    /// prevent that. All other negative vectors are refused here already.
    function test_verify_refusesNegativeVectorsButInnerNodes() public {
        Negative[] memory cases =
            abi.decode(vm.parseJsonTypeArray(read("negative.json"), ".proofs", NEGATIVE), (Negative[]));
        vm.assertTrue(cases.length >= 15, "all cases");
        uint256 accepted = 0;
        for (uint256 i = 0; i < cases.length; i++) {
            Negative memory one = cases[i];
            if (one.root == 0) {
                expectUnknown(one.leaf, one.proof);
                continue;
            }
            bytes32 name = keccak256(bytes(one.name));
            bool inner = name == keccak256("inner node as leaf") || name == keccak256("tree root as leaf");
            bool included = registry.verify(anchorNext(one.root), one.leaf, one.proof);
            vm.assertTrue(included == inner, one.name);
            bool leads = MerkleProof.verify(one.proof, one.root, one.leaf);
            vm.assertTrue(leads == one.leadsToRoot, one.name);
            if (included) accepted++;
        }
        vm.assertEq(accepted, 2, "both inner nodes");
    }

    /// @dev An inner node passes as a hash. No fields hash to it, as a sale's pre-image has 32 bytes and a node's has
    /// 64: with the node's proof no sale passes, those under the node included.
    function test_verifySale_refusesInnerNode() public {
        string memory json = read("chain.json");
        uint64 batch = anchorNext(vm.parseJsonBytes32(json, string.concat(batchPath(1), ".root")));
        Sealed[] memory sales = sealedIn(json, 1);
        bytes32[] memory proof = sales[0].proof;
        bytes32[] memory rest = new bytes32[](proof.length - 1);
        for (uint256 i = 0; i < rest.length; i++) {
            rest[i] = proof[i + 1];
        }
        vm.assertTrue(registry.verify(batch, node(sales[0].leaf, proof[0]), rest), "as a hash");
        for (uint256 i = 0; i < sales.length; i++) {
            vm.assertFalse(registry.verifySale(batch, sales[i].sale, rest), "as a sale");
        }
    }

    function checkTree(string memory json, string memory path) private {
        bytes32 root = vm.parseJsonBytes32(json, string.concat(path, ".root"));
        bytes32 manifest = vm.parseJsonBytes32(json, string.concat(path, ".manifestHash"));
        vm.assertEq(root, node(vm.parseJsonBytes32(json, string.concat(path, ".tree")), manifest), path);
        uint64 batch = anchorNext(root);
        bytes32[] memory leaves = vm.parseJsonBytes32Array(json, string.concat(path, ".leaves"));
        bytes32[][] memory proofs = abi.decode(vm.parseJson(json, string.concat(path, ".proofs")), (bytes32[][]));
        uint256 count = vm.parseJsonUint(json, string.concat(path, ".count"));
        vm.assertTrue(count > 0 && leaves.length == count && proofs.length == count, path);
        for (uint256 i = 0; i < count; i++) {
            vm.assertEq(proofs[i][proofs[i].length - 1], manifest, path);
            vm.assertTrue(registry.verify(batch, leaves[i], proofs[i]), path);
        }
    }

    /// @dev keccak256 over each merchant and the hash of its mark, the merchants ascending.
    function marksHash(string memory json, string memory path) private pure returns (bytes32) {
        bytes32[] memory hashes = vm.parseJsonBytes32Array(json, string.concat(path, ".markHashes"));
        Mark[] memory marks =
            abi.decode(vm.parseJsonTypeArray(json, string.concat(path, ".file.marks"), MARK), (Mark[]));
        bytes memory all;
        for (uint256 i = 0; i < marks.length; i++) {
            vm.assertTrue(i == 0 || marks[i - 1].merchant < marks[i].merchant, "merchants ascend");
            bytes32 hash = keccak256(abi.encodePacked(vm.eip712HashStruct(MARK, abi.encode(marks[i]))));
            vm.assertEq(hash, hashes[i], "mark");
            all = abi.encodePacked(all, marks[i].merchant, hash);
        }
        return keccak256(all);
    }

    function expectUnknown(bytes32 leaf, bytes32[] memory proof) private {
        uint64 unknown = registry.nextBatch();
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.UnknownBatch.selector, unknown));
        registry.verify(unknown, leaf, proof);
    }

    function anchorNext(bytes32 root) private returns (uint64 batch) {
        batch = registry.nextBatch();
        anchor(batch, root);
    }

    function sealedIn(string memory json, uint64 batch) private pure returns (Sealed[] memory) {
        string memory path = string.concat(batchPath(batch), ".sales");
        return abi.decode(vm.parseJsonTypeArray(json, path, string.concat(SEALED, SALE)), (Sealed[]));
    }

    function batchPath(uint64 batch) private pure returns (string memory) {
        return string.concat(".batches[", vm.toString(batch - 1), "]");
    }

    function read(string memory file) private view returns (string memory) {
        return vm.readFile(string.concat(FOLDER, file));
    }
}
