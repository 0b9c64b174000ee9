// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev Everyone who may ever call a registry, doing what forge picks: right calls, wrong ones, by the right account
/// or not. Keeps its own account of what must have happened.
contract Accounts {
    CounterfoilRegistry private immutable REGISTRY;
    uint64 public immutable FIRST;

    address public owner;
    address public publisher;
    /// @dev Root number i is that of batch `FIRST + i`.
    bytes32[] public roots;
    /// @dev Set by a call that went otherwise than it had to.
    string public surprise;

    constructor(CounterfoilRegistry registry, uint64 first, address initialOwner, address initialPublisher) {
        REGISTRY = registry;
        FIRST = first;
        owner = initialOwner;
        publisher = initialPublisher;
    }

    function anchorNext(bytes32[] calldata given) external {
        uint256 count = given.length % 4 + 1;
        bytes32[] memory batch = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            batch[i] = keccak256(abi.encode(i < given.length ? given[i] : bytes32(0), roots.length, i));
        }
        expect(publisher != address(0), attempt(publisher, next(), batch), "next batches, by the publisher");
        if (publisher == address(0)) return;
        for (uint256 i = 0; i < count; i++) {
            roots.push(batch[i]);
        }
    }

    function anchorOther(uint64 first, bytes32 root) external {
        if (first == next()) first++;
        expect(false, attempt(publisher, first, one(root | bytes32(uint256(1)))), "not the next batch");
    }

    /// @dev A batch that is there already: most of what {anchorOther} is given is far beyond.
    function anchorAgain(uint256 which, bytes32 root) external {
        if (roots.length == 0) return;
        uint64 batch = FIRST + uint64(which % roots.length);
        expect(false, attempt(publisher, batch, one(root | bytes32(uint256(1)))), "an anchored batch");
    }

    function anchorZero(bytes32[] calldata given, uint256 where) external {
        bytes32[] memory batch = new bytes32[](given.length % 256 + 1);
        for (uint256 i = 0; i < batch.length; i++) {
            batch[i] = keccak256(abi.encode(i));
        }
        batch[where % batch.length] = 0;
        expect(false, attempt(publisher, next(), batch), "a zero root");
    }

    function anchorByOther(address caller, bytes32 root) external {
        if (caller == publisher) caller = owner;
        if (caller == publisher) return;
        expect(false, attempt(caller, next(), one(root | bytes32(uint256(1)))), "not the publisher");
    }

    function setPublisher(address caller, address to, bool asOwner) external {
        if (asOwner) caller = owner;
        vm.prank(caller);
        (bool done,) = address(REGISTRY).call(abi.encodeCall(REGISTRY.setPublisher, (to)));
        expect(caller == owner, done, "setPublisher");
        if (done) publisher = to;
    }

    function handOver(address to) external {
        if (to == address(0)) return;
        vm.prank(owner);
        REGISTRY.transferOwnership(to);
        vm.prank(to);
        REGISTRY.acceptOwnership();
        owner = to;
    }

    function renounce() external {
        vm.prank(owner);
        (bool done,) = address(REGISTRY).call(abi.encodeCall(REGISTRY.renounceOwnership, ()));
        expect(false, done, "renounceOwnership");
    }

    function rootCount() external view returns (uint256) {
        return roots.length;
    }

    function next() private view returns (uint64) {
        return FIRST + uint64(roots.length);
    }

    function attempt(address caller, uint64 first, bytes32[] memory batch) private returns (bool done) {
        if (caller == address(0)) return false;
        vm.prank(caller);
        (done,) = address(REGISTRY).call(abi.encodeCall(REGISTRY.anchor, (first, batch)));
    }

    function expect(bool wanted, bool got, string memory call) private {
        if (wanted != got) surprise = call;
    }

    function one(bytes32 root) private pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = root;
    }
}

/// @dev Batches without gaps, and roots that never change, whatever is called by whom.
contract InvariantTest is RegistryTest {
    Accounts private accounts;

    function setUp() public override {
        super.setUp();
        accounts = new Accounts(registry, FIRST, OWNER, PUBLISHER);
    }

    /// @dev Tells forge whom to call.
    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(accounts);
    }

    function invariant_batches_haveNoGaps() external view {
        uint256 count = accounts.rootCount();
        vm.assertEq(registry.nextBatch(), FIRST + count, "next batch");
        vm.assertEq(registry.rootOf(uint64(FIRST + count)), 0, "root after the last");
        vm.assertEq(registry.rootOf(FIRST - 1), 0, "root before the first");
        for (uint64 i = 0; i < count; i++) {
            vm.assertTrue(registry.rootOf(FIRST + i) != 0, "a gap");
        }
    }

    function invariant_roots_neverChange() external view {
        for (uint64 i = 0; i < accounts.rootCount(); i++) {
            vm.assertEq(registry.rootOf(FIRST + i), accounts.roots(i), "a root");
        }
    }

    function invariant_calls_endAsTheyMust() external view {
        vm.assertEq(bytes(accounts.surprise()).length, 0, accounts.surprise());
        vm.assertEq(registry.owner(), accounts.owner());
        vm.assertEq(registry.publisher(), accounts.publisher());
    }
}
