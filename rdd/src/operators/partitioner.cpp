#include "rdd/partitioner.hpp"

#include "rdd/detail/context_core.hpp"
#include "rdd/detail/shuffle.hpp"
#include "rdd/rdd_base.hpp"
#include "rdd/spark_conf.hpp"

#include <algorithm>
#include <cmath>

namespace dstream {

namespace {

class ByHash final : public PartitionerBase {
public:
    explicit ByHash(int n) : n_(n) {}
    int numPartitions() const override { return n_; }
    bool placesByHash() const override { return true; }
    bool equals(const PartitionerBase& other) const override {
        return other.placesByHash() && other.numPartitions() == n_;
    }

private:
    int n_;
};

std::shared_ptr<const PartitionerBase> byHash(int n) {
    if (n < 0) {
        throw IllegalArgumentException("a HashPartitioner needs a number of partitions that is not negative: " +
                                       std::to_string(n));
    }
    return std::make_shared<ByHash>(n);
}

}  // namespace

Partitioner::Partitioner(std::shared_ptr<const PartitionerBase> impl) : impl_(std::move(impl)) {
    if (!impl_) throw IllegalArgumentException("a Partitioner needs an implementation, found a null pointer");
}

HashPartitioner::HashPartitioner(int n) : Partitioner(byHash(n)) {}

PartitionChoice::PartitionChoice(int numPartitions) : PartitionChoice(HashPartitioner(numPartitions)) {}

std::optional<Partitioner> PartitionChoice::partitioner() const {
    return impl_ ? std::optional(Partitioner(impl_)) : std::nullopt;
}

namespace detail {

void throwOtherKeyType(const std::type_info& key) {
    throw IllegalStateException("the partitioner is for another key type than " + typeName(key) +
                                "; derive it from KeyPartitioner of that type");
}

void throwNoPlacementHash(const std::type_info& key) {
    throw IllegalStateException(typeName(key) + " has no PlacementHash; specialise it to use a HashPartitioner");
}

void throwNoSuchPartition(int index, uint64_t count) {
    throw IllegalStateException("getPartition must give a partition from 0 to " + std::to_string(count - 1) + ": " +
                                std::to_string(index));
}

}  // namespace detail

Partitioner defaultPartitioner(const std::vector<const RddBase*>& rdds) {
    const RddBase* best = nullptr;
    int largest = 0;
    for (const RddBase* rdd : rdds) {
        largest = std::max(largest, rdd->numPartitions());
        const auto partitioner = rdd->partitioner();
        if (partitioner && partitioner->numPartitions() > 0 &&
            (best == nullptr || partitioner->numPartitions() > best->partitioner()->numPartitions())) {
            best = rdd;
        }
    }
    const auto context = rdds.at(0)->context();
    const int wanted = context->conf().contains("spark.default.parallelism") ? context->defaultParallelism() : largest;
    if (best != nullptr) {
        Partitioner partitioner = *best->partitioner();
        const int count = partitioner.numPartitions();
        if (std::log10(largest) - std::log10(count) < 1 || wanted <= count) return partitioner;
    }
    return HashPartitioner(wanted);
}

}  // namespace dstream
