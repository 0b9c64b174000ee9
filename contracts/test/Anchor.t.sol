// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {ICounterfoilRegistry} from "../src/ICounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev What the publisher can do, and what it cannot.
contract AnchorTest is RegistryTest {
    bytes32 private constant ROOT = keccak256("root");

    function test_anchor_keepsRootAndMovesOn() public {
        anchor(FIRST, ROOT);
        vm.assertEq(registry.rootOf(FIRST), ROOT);
        vm.assertEq(registry.nextBatch(), FIRST + 1);
    }

    function test_anchor_keepsManyInOrder() public {
        bytes32[] memory roots = rootsOf(ROOT, 256);
        anchor(FIRST, roots);
        for (uint64 i = 0; i < 256; i++) {
            vm.assertEq(registry.rootOf(FIRST + i), roots[i]);
        }
        vm.assertEq(registry.nextBatch(), FIRST + 256);
        vm.assertEq(registry.rootOf(FIRST + 256), 0);
    }

    function test_anchor_emitsOneEventForEachBatch() public {
        bytes32[] memory roots = rootsOf(ROOT, 2);
        vm.expectEmit(address(registry));
        emit ICounterfoilRegistry.Anchored(FIRST, roots[0]);
        vm.expectEmit(address(registry));
        emit ICounterfoilRegistry.Anchored(FIRST + 1, roots[1]);
        anchor(FIRST, roots);
    }

    function test_anchor_takesTheSameRootTwice() public {
        anchor(FIRST, ROOT);
        anchor(FIRST + 1, ROOT);
        vm.assertEq(registry.rootOf(FIRST + 1), ROOT);
    }

    function test_anchor_revertsForStranger() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotPublisher.selector, STRANGER));
        vm.prank(STRANGER);
        registry.anchor(FIRST, listOf(ROOT));
    }

    function test_anchor_revertsForOwner() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotPublisher.selector, OWNER));
        vm.prank(OWNER);
        registry.anchor(FIRST, listOf(ROOT));
    }

    function test_anchor_revertsForAnchoredBatch() public {
        anchor(FIRST, ROOT);
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotNextBatch.selector, FIRST, FIRST + 1));
        anchor(FIRST, ROOT);
    }

    function test_anchor_revertsForGap() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotNextBatch.selector, FIRST + 1, FIRST));
        anchor(FIRST + 1, ROOT);
    }

    function test_anchor_revertsForNoRoot() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.RootCountOutOfBounds.selector, 0, 256));
        anchor(FIRST, new bytes32[](0));
    }

    function test_anchor_revertsForTooManyRoots() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.RootCountOutOfBounds.selector, 257, 256));
        anchor(FIRST, rootsOf(ROOT, 257));
    }

    function test_anchor_revertsForZeroRootAndKeepsNothing() public {
        bytes32[] memory roots = rootsOf(ROOT, 3);
        roots[2] = 0;
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.ZeroRoot.selector, FIRST + 2));
        anchor(FIRST, roots);
        vm.assertEq(registry.rootOf(FIRST), 0);
        vm.assertEq(registry.nextBatch(), FIRST);
    }

    function test_anchor_revertsWhenIdsRunOut() public {
        uint64 last = type(uint64).max;
        CounterfoilRegistry full = new CounterfoilRegistry(OWNER, PUBLISHER, last);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(PUBLISHER);
        full.anchor(last, listOf(ROOT));
        vm.assertEq(full.rootOf(last), 0);
    }

    function testFuzz_anchor_keepsAnyRoots(uint64 first, bytes32[] memory roots) public {
        uint256 count = roots.length;
        vm.assume(first != 0 && count > 0 && count <= 256 && first < type(uint64).max - count);
        CounterfoilRegistry other = new CounterfoilRegistry(OWNER, PUBLISHER, first);
        for (uint256 i = 0; i < count; i++) {
            vm.assume(roots[i] != 0);
        }
        vm.prank(PUBLISHER);
        other.anchor(first, roots);
        for (uint256 i = 0; i < count; i++) {
            vm.assertEq(other.rootOf(first + uint64(i)), roots[i]);
        }
        vm.assertEq(other.nextBatch(), first + count);
    }

    function testFuzz_anchor_revertsForAnyoneElse(address caller) public {
        vm.assume(caller != PUBLISHER);
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotPublisher.selector, caller));
        vm.prank(caller);
        registry.anchor(FIRST, listOf(ROOT));
    }

    function testFuzz_anchor_revertsForAnyOtherBatch(uint64 first) public {
        vm.assume(first != FIRST);
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotNextBatch.selector, first, FIRST));
        anchor(first, ROOT);
    }
}
