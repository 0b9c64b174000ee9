// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev What a transaction costs its sender, the 21,000 of every transaction and its calldata included. Batch ids
/// and roots have no zero byte, which is the dearest calldata there is. test/gas.mjs measures the same on receipts.
contract GasTest is RegistryTest {
    uint256 private constant ONE_BATCH = 52_200;
    uint256 private constant FURTHER_BATCH = 25_000;
    uint64 private constant DEAR = 0x1111111111111111;

    function setUp() public override {
        registry = new CounterfoilRegistry(OWNER, PUBLISHER, DEAR);
        anchor(DEAR, dearRoots(1));
    }

    function test_anchor_costsAtMost52200ForOneBatch() public {
        anchor(DEAR + 1, dearRoots(1));
        vm.assertLe(vm.snapshotGasLastCall("CounterfoilRegistry", "anchor 1 batch"), ONE_BATCH);
    }

    function test_anchor_costsAtMost25000ForEachFurtherBatch() public {
        anchor(DEAR + 1, dearRoots(2));
        uint256 two = vm.snapshotGasLastCall("CounterfoilRegistry", "anchor 2 batches");
        anchor(DEAR + 3, dearRoots(256));
        uint256 most = vm.snapshotGasLastCall("CounterfoilRegistry", "anchor 256 batches");
        vm.assertLe(two, ONE_BATCH + FURTHER_BATCH);
        vm.assertLe(most, two + 254 * FURTHER_BATCH);
    }

    function test_verifySale_costsWhatIsSnapshot() public {
        bytes32[] memory proof = dearRoots(21);
        bytes32 root = leafOf(someSale());
        for (uint256 i = 0; i < proof.length; i++) {
            root = node(root, proof[i]);
        }
        anchor(DEAR + 1, root);
        bool included = registry.verifySale(DEAR + 1, someSale(), proof);
        vm.snapshotGasLastCall("CounterfoilRegistry", "verifySale 21 siblings");
        vm.assertTrue(included, "the deepest proof there is");
    }

    /// @dev Hashes with their zero bytes, few as they are, made ones.
    function dearRoots(uint256 count) private pure returns (bytes32[] memory roots) {
        roots = rootsOf("dear", count);
        for (uint256 i = 0; i < count; i++) {
            roots[i] |= bytes32(uint256(0x0101010101010101010101010101010101010101010101010101010101010101));
        }
    }
}
