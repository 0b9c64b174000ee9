// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {vm} from "./Vm.sol";

/// @dev The committed artifact is the contract that is tested here.
contract ArtifactTest is RegistryTest {
    string private artifact = vm.readFile("artifacts/CounterfoilRegistry.json");

    function test_bytecode_isWhatForgeCompiles() public view {
        bytes memory committed = vm.parseJsonBytes(artifact, ".bytecode");
        vm.assertEq(keccak256(committed), keccak256(type(CounterfoilRegistry).creationCode));
    }

    function test_runtimeCodeHash_isThatOfEveryDeployment() public {
        bytes32 committed = vm.parseJsonBytes32(artifact, ".runtimeCodeHash");
        CounterfoilRegistry other = new CounterfoilRegistry(STRANGER, address(0), type(uint64).max);
        vm.assertEq(address(registry).codehash, committed);
        vm.assertEq(address(other).codehash, committed);
    }

    function test_rootOfSlot_holdsRoot() public {
        bytes32 root = keccak256("root");
        uint256 slot = vm.parseJsonUint(artifact, ".rootOfSlot");
        anchor(FIRST, root);
        vm.assertEq(vm.load(address(registry), keccak256(abi.encode(FIRST, slot))), root);
    }
}
