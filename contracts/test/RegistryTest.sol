// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CounterfoilRegistry} from "../src/CounterfoilRegistry.sol";
import {ICounterfoilRegistry} from "../src/ICounterfoilRegistry.sol";
import {vm} from "./Vm.sol";

/// @dev A deployed registry whose first batch is {FIRST}, and the accounts around it.
abstract contract RegistryTest {
    address internal constant OWNER = address(0x0A11CE);
    address internal constant PUBLISHER = address(0x0B0B);
    address internal constant STRANGER = address(0xBAD);
    uint64 internal constant FIRST = 7;

    CounterfoilRegistry internal registry;

    function setUp() public virtual {
        registry = new CounterfoilRegistry(OWNER, PUBLISHER, FIRST);
    }

    function anchor(uint64 first, bytes32[] memory roots) internal {
        vm.prank(PUBLISHER);
        registry.anchor(first, roots);
    }

    function anchor(uint64 batch, bytes32 root) internal {
        anchor(batch, listOf(root));
    }

    function listOf(bytes32 only) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = only;
    }

    /// @dev `count` distinct roots, none zero.
    function rootsOf(bytes32 seed, uint256 count) internal pure returns (bytes32[] memory roots) {
        roots = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            roots[i] = keccak256(abi.encode(seed, i));
        }
    }

    /// @dev A sale in which no field is zero.
    function someSale() internal pure returns (ICounterfoilRegistry.Sale memory) {
        return ICounterfoilRegistry.Sale({
            merchant: hex"0192f0c1a0007000800000000000aa01",
            sale: hex"0192f0c1a0007000800000000000bb02",
            seq: 42,
            orderId: "order-42",
            kind: 2,
            refersTo: hex"0192f0c1a0007000800000000000cc03",
            customer: STRANGER,
            currency: "EUR",
            amount: 150075,
            recordedAt: 1735689600123,
            details: keccak256("details"),
            salt: keccak256("salt")
        });
    }

    /// @dev The leaf of a sale, word by word from the definition and without code of the registry.
    function leafOf(ICounterfoilRegistry.Sale memory sale) internal pure returns (bytes32) {
        bytes memory words = abi.encodePacked(
            keccak256(
                "Sale(bytes16 merchant,bytes16 sale,uint64 seq,string orderId,uint8 kind,bytes16 refersTo,address customer,string currency,uint256 amount,uint64 recordedAt,bytes32 details,bytes32 salt)"
            )
        );
        words = abi.encodePacked(words, bytes32(sale.merchant), bytes32(sale.sale), uint256(sale.seq));
        words = abi.encodePacked(words, keccak256(bytes(sale.orderId)), uint256(sale.kind), bytes32(sale.refersTo));
        words = abi.encodePacked(words, uint256(uint160(sale.customer)), keccak256(bytes(sale.currency)));
        words = abi.encodePacked(words, sale.amount, uint256(sale.recordedAt), sale.details, sale.salt);
        return keccak256(abi.encodePacked(keccak256(words)));
    }

    /// @dev The parent of two nodes: keccak256 over the smaller and then the larger.
    function node(bytes32 a, bytes32 b) internal pure returns (bytes32) {
        return a < b ? keccak256(abi.encodePacked(a, b)) : keccak256(abi.encodePacked(b, a));
    }
}
