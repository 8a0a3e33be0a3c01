#pragma once

#include "rdd/exceptions.hpp"
#include "rdd/owned.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

/// The base of every partitioner: how many partitions, and when two place equal keys alike (then a shuffle can be
/// skipped).
class PartitionerBase {
public:
    virtual ~PartitionerBase() = default;
    virtual int numPartitions() const = 0;
    virtual bool equals(const PartitionerBase& other) const = 0;
    /// True when the partition is the key's PlacementHash modulo numPartitions.
    virtual bool placesByHash() const { return false; }
};

/// A partitioner of one's own for keys of type `K`.
///
///     struct ByFirstLetter : KeyPartitioner<std::string> {
///         int numPartitions() const override { return 26; }
///         int getPartition(const std::string& key) const override { return key.empty() ? 0 : (key[0] - 'a') % 26; }
///         bool equals(const PartitionerBase& other) const override { return dynamic_cast<const
///         ByFirstLetter*>(&other); }
///     };
///     pairs.partitionBy(Partitioner(std::make_shared<ByFirstLetter>()));
template <class K>
class KeyPartitioner : public PartitionerBase {
public:
    /// In [0, numPartitions()). Called by several threads at once.
    virtual int getPartition(const K& key) const = 0;
};

/// A copyable handle of an immutable partitioner.
class Partitioner {
public:
    /// @throws IllegalArgumentException  for a null pointer
    explicit Partitioner(std::shared_ptr<const PartitionerBase> impl);
    int numPartitions() const { return impl_->numPartitions(); }
    const PartitionerBase& impl() const { return *impl_; }
    friend bool operator==(const Partitioner& a, const Partitioner& b) {
        return a.impl_ == b.impl_ || (a.impl_->equals(*b.impl_) && b.impl_->equals(*a.impl_));
    }
    /// The partition of `key`.
    /// @throws IllegalStateException  when the partitioner is for another key type
    template <class K>
    int getPartition(const K& key) const;

private:
    friend class PartitionChoice;

    std::shared_ptr<const PartitionerBase> impl_;
};

/// Places a key by its PlacementHash modulo `n`. Equal to every other HashPartitioner of the same `n`.
class HashPartitioner : public Partitioner {
public:
    /// @throws IllegalArgumentException  when n is negative (0 is allowed)
    explicit HashPartitioner(int n);
};

/// The last argument of a shuffling operator: nothing (the default partitioner rule), a number of partitions, or a
/// Partitioner.
class PartitionChoice {
public:
    PartitionChoice() = default;
    PartitionChoice(int numPartitions);                                            // NOLINT: as ported
    PartitionChoice(const Partitioner& partitioner) : impl_(partitioner.impl_) {}  // NOLINT: as ported
    std::optional<Partitioner> partitioner() const;

private:
    // Not an optional: g++ 12 takes the ones of default arguments for uninitialised where it has inlined enough.
    std::shared_ptr<const PartitionerBase> impl_;
};

class RddBase;

/// The reference's rule: among inputs with a partitioner the one with most partitions, if it is near enough to the
/// largest input (or `spark.default.parallelism`); else a HashPartitioner.
Partitioner defaultPartitioner(const std::vector<const RddBase*>& rdds);

}  // namespace dstream
