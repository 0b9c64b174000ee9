// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICounterfoilRegistry} from "../src/ICounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev What the two checks accept and refuse.
contract VerifyTest is RegistryTest {
    bytes32 private constant LEAF = keccak256("leaf");
    bytes32 private constant MANIFEST = keccak256("manifest");

    function test_SALE_TYPEHASH_isTheOneOfTheFormat() public view {
        vm.assertEq(registry.SALE_TYPEHASH(), 0x03502728be3b7e4c3c96b9c350b4da73f2f7c70a8ceca55042ddb2cbe4eeb8bd);
    }

    function test_verify_acceptsOnlyLeafOfBatch() public {
        anchor(FIRST, node(LEAF, MANIFEST));
        vm.assertTrue(registry.verify(FIRST, LEAF, listOf(MANIFEST)), "the only leaf");
        vm.assertFalse(registry.verify(FIRST, keccak256("other"), listOf(MANIFEST)), "another leaf");
    }

    function test_verify_refusesInAnotherBatch() public {
        anchor(FIRST, node(LEAF, MANIFEST));
        anchor(FIRST + 1, node(LEAF, keccak256("another manifest")));
        vm.assertFalse(registry.verify(FIRST + 1, LEAF, listOf(MANIFEST)), "proof of another batch");
    }

    function test_verify_revertsForUnknownBatch() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.UnknownBatch.selector, FIRST));
        registry.verify(FIRST, 0, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.UnknownBatch.selector, FIRST - 1));
        registry.verify(FIRST - 1, LEAF, listOf(MANIFEST));
    }

    function test_verify_refusesRootWithoutSiblings() public {
        anchor(FIRST, LEAF);
        vm.assertFalse(registry.verify(FIRST, LEAF, new bytes32[](0)), "no sibling");
    }

    function test_verify_acceptsAtMost64Siblings() public {
        bytes32[] memory longest = rootsOf(MANIFEST, 64);
        bytes32[] memory tooLong = rootsOf(MANIFEST, 65);
        bytes32 root = LEAF;
        for (uint256 i = 0; i < 64; i++) {
            root = node(root, longest[i]);
        }
        anchor(FIRST, root);
        anchor(FIRST + 1, node(root, tooLong[64]));
        vm.assertTrue(registry.verify(FIRST, LEAF, longest), "64 siblings");
        vm.assertFalse(registry.verify(FIRST + 1, LEAF, tooLong), "65 siblings");
    }

    function test_verifySale_revertsForUnknownBatch() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.UnknownBatch.selector, FIRST));
        registry.verifySale(FIRST, someSale(), listOf(MANIFEST));
    }

    function test_verifySale_refusesAnyChangedField() public {
        bytes32[] memory proof = listOf(MANIFEST);
        anchor(FIRST, node(leafOf(someSale()), MANIFEST));
        vm.assertTrue(registry.verifySale(FIRST, someSale(), proof), "unchanged");
        for (uint256 field = 0; field < 12; field++) {
            vm.assertFalse(registry.verifySale(FIRST, changed(field), proof), vm.toString(field));
        }
    }

    function testFuzz_verifySale_acceptsAnySale(ICounterfoilRegistry.Sale memory sale, bytes32[4] memory path) public {
        bytes32[] memory proof = new bytes32[](4);
        bytes32 root = leafOf(sale);
        for (uint256 i = 0; i < 4; i++) {
            proof[i] = path[i];
            root = node(root, path[i]);
        }
        anchor(FIRST, root);
        vm.assertTrue(registry.verifySale(FIRST, sale, proof), "the sale itself");
        sale.amount ^= 1;
        vm.assertFalse(registry.verifySale(FIRST, sale, proof), "another amount");
    }

    function testFuzz_verify_acceptsEachLeafOfTree(bytes32 seed, uint8 size, uint8 which) public {
        bytes32[] memory leaves = rootsOf(seed, uint256(size) + 1);
        uint256 index = which % leaves.length;
        bytes32 leaf = leaves[index];
        (bytes32 root, bytes32[] memory proof) = prove(leaves, index);
        anchor(FIRST, root);
        vm.assertTrue(registry.verify(FIRST, leaf, proof), "a leaf of the tree");
        proof[which % proof.length] ^= bytes32(uint256(1) << which);
        vm.assertFalse(registry.verify(FIRST, leaf, proof), "one bit of the proof changed");
    }

    /// @dev The root R over the leaves in the order given, and the proof of one, the manifest last. Overwrites
    /// `level` with each level in turn; a lone last node moves up as it is.
    function prove(bytes32[] memory level, uint256 index) private pure returns (bytes32, bytes32[] memory proof) {
        for (uint256 count = level.length; count > 1; count = (count + 1) / 2) {
            if ((index ^ 1) < count) proof = append(proof, level[index ^ 1]);
            for (uint256 i = 0; i < count; i += 2) {
                level[i / 2] = i + 1 < count ? node(level[i], level[i + 1]) : level[i];
            }
            index /= 2;
        }
        return (node(level[0], MANIFEST), append(proof, MANIFEST));
    }

    function append(bytes32[] memory list, bytes32 item) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; i++) {
            longer[i] = list[i];
        }
        longer[list.length] = item;
    }

    /// @dev {someSale} with one field changed.
    function changed(uint256 field) private pure returns (ICounterfoilRegistry.Sale memory sale) {
        sale = someSale();
        if (field == 0) sale.merchant ^= bytes16(uint128(1));
        if (field == 1) sale.sale ^= bytes16(uint128(1));
        if (field == 2) sale.seq++;
        if (field == 3) sale.orderId = "order-42 ";
        if (field == 4) sale.kind = 1;
        if (field == 5) sale.refersTo = 0;
        if (field == 6) sale.customer = OWNER;
        if (field == 7) sale.currency = "USD";
        if (field == 8) sale.amount++;
        if (field == 9) sale.recordedAt++;
        if (field == 10) sale.details = 0;
        if (field == 11) sale.salt = 0;
    }
}
