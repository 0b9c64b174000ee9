// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {ICounterfoilRegistry} from "./ICounterfoilRegistry.sol";

/// @title Registry of anchored batches of sales
/// @notice The publisher (a key in daily use) anchors; the owner (a key kept offline) replaces the publisher and
/// can do nothing else. No account can change or remove a root.
/// @dev Without proxy and without immutables: the runtime code is the same byte for byte wherever it is deployed,
/// so that a reader compares one code hash.
contract CounterfoilRegistry is ICounterfoilRegistry, Ownable2Step {
    /// @inheritdoc ICounterfoilRegistry
    bytes32 public constant SALE_TYPEHASH = keccak256(
        "Sale(bytes16 merchant,bytes16 sale,uint64 seq,string orderId,uint8 kind,bytes16 refersTo,address customer,string currency,uint256 amount,uint64 recordedAt,bytes32 details,bytes32 salt)"
    );

    /// @dev Most roots in one call: about 6.3 million gas, well below any block's limit.
    uint256 private constant MAX_ROOTS = 256;

    /// @dev Most siblings in a proof. The deepest batch (2^20 leaves, then the manifest) has 21.
    uint256 private constant MAX_SIBLINGS = 64;

    /// @inheritdoc ICounterfoilRegistry
    /// @dev Stands before `nextBatch` so that the two share a slot of their own, which {anchor} reads and writes
    /// once. The other way round `nextBatch` would be packed behind the pending owner: a second cold slot.
    address public publisher;

    /// @inheritdoc ICounterfoilRegistry
    uint64 public nextBatch;

    /// @inheritdoc ICounterfoilRegistry
    mapping(uint64 batch => bytes32 root) public rootOf;

    /// @param initialOwner Who may replace the publisher
    /// @param initialPublisher Who may anchor; zero for nobody yet
    /// @param firstBatch Id of the first batch: 1, or for a successor of another registry the id it takes over at
    constructor(address initialOwner, address initialPublisher, uint64 firstBatch) Ownable(initialOwner) {
        if (firstBatch == 0) revert InvalidFirstBatch(firstBatch);
        nextBatch = firstBatch;
        _setPublisher(initialPublisher);
    }

    /// @inheritdoc ICounterfoilRegistry
    function anchor(uint64 first, bytes32[] calldata roots) external {
        if (msg.sender != publisher) revert NotPublisher(msg.sender);
        if (first != nextBatch) revert NotNextBatch(first, nextBatch);
        if (roots.length == 0 || roots.length > MAX_ROOTS) revert RootCountOutOfBounds(roots.length, MAX_ROOTS);

        uint64 batch = first;
        for (uint256 i = 0; i < roots.length; i++) {
            bytes32 root = roots[i];
            if (root == 0) revert ZeroRoot(batch);
            rootOf[batch] = root;
            emit Anchored(batch, root);
            batch++;
        }
        nextBatch = batch;
    }

    /// @inheritdoc ICounterfoilRegistry
    function setPublisher(address newPublisher) external onlyOwner {
        _setPublisher(newPublisher);
    }

    /// @inheritdoc ICounterfoilRegistry
    function verify(uint64 batch, bytes32 leaf, bytes32[] calldata proof) external view returns (bool) {
        return _isIncluded(batch, leaf, proof);
    }

    /// @inheritdoc ICounterfoilRegistry
    function verifySale(uint64 batch, Sale calldata sale, bytes32[] calldata proof) external view returns (bool) {
        return _isIncluded(batch, _leafOf(sale), proof);
    }

    /// @notice Always reverts: see {OwnershipNotRenounceable}.
    function renounceOwnership() public pure override {
        revert OwnershipNotRenounceable();
    }

    function _setPublisher(address newPublisher) private {
        emit PublisherChanged(publisher, newPublisher);
        publisher = newPublisher;
    }

    /// @dev An unknown batch is an error and not `false`: its root reads as zero, and a zero leaf would match it.
    function _isIncluded(uint64 batch, bytes32 leaf, bytes32[] calldata proof) private view returns (bool) {
        bytes32 root = rootOf[batch];
        if (root == 0) revert UnknownBatch(batch);
        if (proof.length == 0 || proof.length > MAX_SIBLINGS) return false;
        return MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// @dev EIP-712 hashStruct, hashed once more: a leaf's pre-image is 32 bytes and an inner node's 64, so that
    /// neither passes for the other. Encoded in two halves, as thirteen words at once exceed the stack.
    function _leafOf(Sale calldata sale) private pure returns (bytes32) {
        bytes memory identity = abi.encode(
            SALE_TYPEHASH, sale.merchant, sale.sale, sale.seq, keccak256(bytes(sale.orderId)), sale.kind, sale.refersTo
        );
        bytes memory content = abi.encode(
            sale.customer, keccak256(bytes(sale.currency)), sale.amount, sale.recordedAt, sale.details, sale.salt
        );
        return keccak256(bytes.concat(keccak256(bytes.concat(identity, content))));
    }
}
