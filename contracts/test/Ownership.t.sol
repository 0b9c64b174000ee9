// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {ICounterfoilRegistry} from "../src/ICounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev What a deployment sets, and what the owner can change of it.
contract OwnershipTest is RegistryTest {
    address private constant SUCCESSOR = address(0x5ACC);
    bytes32 private constant ROOT = keccak256("root");

    function test_constructor_setsOwnerPublisherAndFirstBatch() public view {
        vm.assertEq(registry.owner(), OWNER);
        vm.assertEq(registry.publisher(), PUBLISHER);
        vm.assertEq(registry.nextBatch(), FIRST);
    }

    function test_constructor_emitsPublisher() public {
        vm.expectEmit();
        emit ICounterfoilRegistry.PublisherChanged(address(0), PUBLISHER);
        new CounterfoilRegistry(OWNER, PUBLISHER, FIRST);
    }

    function test_constructor_revertsForFirstBatchZero() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.InvalidFirstBatch.selector, 0));
        new CounterfoilRegistry(OWNER, PUBLISHER, 0);
    }

    function test_constructor_revertsForNoOwner() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new CounterfoilRegistry(address(0), PUBLISHER, FIRST);
    }

    function test_setPublisher_replacesPublisher() public {
        vm.expectEmit(address(registry));
        emit ICounterfoilRegistry.PublisherChanged(PUBLISHER, SUCCESSOR);
        vm.prank(OWNER);
        registry.setPublisher(SUCCESSOR);

        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotPublisher.selector, PUBLISHER));
        anchor(FIRST, ROOT);
        vm.prank(SUCCESSOR);
        registry.anchor(FIRST, listOf(ROOT));
        vm.assertEq(registry.rootOf(FIRST), ROOT);
    }

    function test_setPublisher_keepsRootsAndNextBatch() public {
        anchor(FIRST, ROOT);
        vm.prank(OWNER);
        registry.setPublisher(SUCCESSOR);
        vm.assertEq(registry.rootOf(FIRST), ROOT);
        vm.assertEq(registry.nextBatch(), FIRST + 1);
    }

    function test_setPublisher_stopsAnchoringWithZero() public {
        vm.prank(OWNER);
        registry.setPublisher(address(0));
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.NotPublisher.selector, PUBLISHER));
        anchor(FIRST, ROOT);
    }

    function test_setPublisher_revertsForPublisher() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, PUBLISHER));
        vm.prank(PUBLISHER);
        registry.setPublisher(SUCCESSOR);
    }

    function testFuzz_setPublisher_revertsForAnyoneElse(address caller, address to) public {
        vm.assume(caller != OWNER);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        vm.prank(caller);
        registry.setPublisher(to);
    }

    function test_transferOwnership_waitsForAcceptance() public {
        vm.prank(OWNER);
        registry.transferOwnership(SUCCESSOR);
        vm.assertEq(registry.owner(), OWNER);

        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, STRANGER));
        vm.prank(STRANGER);
        registry.acceptOwnership();

        vm.prank(SUCCESSOR);
        registry.acceptOwnership();
        vm.assertEq(registry.owner(), SUCCESSOR);
    }

    function test_renounceOwnership_revertsForOwner() public {
        vm.expectRevert(abi.encodeWithSelector(ICounterfoilRegistry.OwnershipNotRenounceable.selector));
        vm.prank(OWNER);
        registry.renounceOwnership();
        vm.assertEq(registry.owner(), OWNER);
    }
}
