// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// @title Registry of anchored batches of sales
/// @notice Keeps one Merkle root for each batch of sales, in order and for ever, and checks inclusion proofs
/// against them. Nothing but roots is stored: what was sold stays with the shop and its customers.
interface ICounterfoilRegistry {
    /// @notice A sale as its leaf commits to it: an EIP-712 struct, hashed without a domain.
    /// @param merchant Id of the merchant, right-padded
    /// @param sale Id of the sale, right-padded
    /// @param seq Number of the sale among all sales of its merchant, without gaps
    /// @param orderId The merchant's own id of the order, 1 to 64 visible ASCII characters
    /// @param kind 1 for a sale, 2 for a refund
    /// @param refersTo Id of the sale that a refund refers to; zero where there is none
    /// @param customer Address of the customer; zero where there is none
    /// @param currency ISO 4217 code: three upper-case letters
    /// @param amount Total in minor units of the currency
    /// @param recordedAt When the sale was recorded, in milliseconds since 1970-01-01 UTC
    /// @param details keccak256 of the canonical JSON of the details (lines, payments, taxes)
    /// @param salt 32 random bytes, so that the leaf tells nothing about the fields
    struct Sale {
        bytes16 merchant;
        bytes16 sale;
        uint64 seq;
        string orderId;
        uint8 kind;
        bytes16 refersTo;
        address customer;
        string currency;
        uint256 amount;
        uint64 recordedAt;
        bytes32 details;
        bytes32 salt;
    }

    /// @notice A batch was anchored. Emitted once for each id, in ascending order.
    /// @param batch Id of the batch
    /// @param root Its root, for ever
    event Anchored(uint64 indexed batch, bytes32 indexed root);

    /// @notice Another account may anchor from now on.
    /// @param from The publisher until now; zero when there was none
    /// @param to The publisher from now on; zero when anchoring is stopped
    event PublisherChanged(address indexed from, address indexed to);

    /// @notice Only the publisher anchors.
    /// @param caller Who tried
    error NotPublisher(address caller);

    /// @notice Batches are anchored in order, each once.
    /// @param first Id that the call started at
    /// @param next Id that it had to start at
    error NotNextBatch(uint64 first, uint64 next);

    /// @notice The number of roots in one call is out of bounds.
    /// @param count Roots given
    /// @param max Most roots that one call takes; the fewest is one
    error RootCountOutOfBounds(uint256 count, uint256 max);

    /// @notice Zero stands for "not anchored" and is therefore no root.
    /// @param batch Id of the batch that was given it
    error ZeroRoot(uint64 batch);

    /// @notice There is no root to check against.
    /// @param batch Id of the batch that this registry has not anchored
    error UnknownBatch(uint64 batch);

    /// @notice Batch ids start at one.
    /// @param firstBatch Id that the deployment asked for
    error InvalidFirstBatch(uint64 firstBatch);

    /// @notice A registry without an owner could not stop a stolen publisher key.
    error OwnershipNotRenounceable();

    /// @notice Anchors consecutive batches, the first of them the next one due. Only for the publisher.
    /// @param first Id of the first batch, which is {nextBatch}
    /// @param roots Roots of the batches `first`, `first + 1`, …; 1 to 256 of them, none zero
    function anchor(uint64 first, bytes32[] calldata roots) external;

    /// @notice Lets another account anchor. Only for the owner.
    /// @param newPublisher The account; zero stops all anchoring
    function setPublisher(address newPublisher) external;

    /// @notice Whether a hash is under the root of a batch: the plain Merkle check.
    /// @dev A hash is not a sale. An inner node of the tree passes here as well, with the rest of the path as its
    /// proof; so take the leaf from the fields of a sale, or let {verifySale} do so.
    /// Reverts with {UnknownBatch} when the batch was never anchored.
    /// @param batch Id of the batch
    /// @param leaf keccak256 of the sale's EIP-712 hashStruct
    /// @param proof Siblings from the leaf up, the hash of the manifest last
    /// @return Whether they lead to the root; never with no sibling or with more than 64
    function verify(uint64 batch, bytes32 leaf, bytes32[] calldata proof) external view returns (bool);

    /// @notice Whether a sale, given by its fields, is in a batch.
    /// @dev Reverts with {UnknownBatch} when the batch was never anchored.
    /// @param batch Id of the batch
    /// @param sale All fields of the sale, as on the receipt
    /// @param proof Siblings from the leaf up, the hash of the manifest last
    /// @return Whether they lead to the root; never with no sibling or with more than 64
    function verifySale(uint64 batch, Sale calldata sale, bytes32[] calldata proof) external view returns (bool);

    /// @notice The account that anchors; zero when anchoring is stopped.
    function publisher() external view returns (address);

    /// @notice Id of the batch that is anchored next. All from the registry's first batch up to it are anchored.
    function nextBatch() external view returns (uint64);

    /// @notice Root of a batch; zero when this registry has not anchored it.
    /// @param batch Id of the batch
    function rootOf(uint64 batch) external view returns (bytes32);

    /// @notice EIP-712 type hash of {Sale}.
    function SALE_TYPEHASH() external view returns (bytes32);
}
