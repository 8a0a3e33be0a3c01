#include "rdd/rdd.hpp"

#include <atomic>
#include <cmath>
#include <random>

namespace dstream {
namespace detail {

void checkSlices(int slices) {
    if (slices < 1)
        throw IllegalArgumentException("parallelize needs a positive number of slices: " + std::to_string(slices));
}

std::vector<int> allPartitions(const RddBase& rdd) {
    std::vector<int> all(static_cast<std::size_t>(rdd.numPartitions()));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

int64_t randomSeed() {
    std::random_device device;
    return static_cast<int64_t>((static_cast<uint64_t>(device()) << 32) | device());
}

int64_t roundedUp(double value) {
    return static_cast<int64_t>(std::ceil(value));
}

double fractionFor(int64_t wanted, int64_t total, bool withReplacement) {
    const auto n = static_cast<double>(wanted);
    const double fraction = (n + 5 * std::sqrt(n) + 10) / static_cast<double>(total);
    return withReplacement ? fraction : std::min(1.0, fraction);
}

int PartitionRandom::nextPoisson(double mean) {
    int n = 0;
    while (mean > 30) {  // in steps that do not underflow
        n += nextPoisson(30);
        mean -= 30;
    }
    const double limit = std::exp(-mean);
    for (double product = nextDouble(); product > limit; product *= nextDouble()) ++n;
    return n;
}

void checkDepth(int depth) {
    if (depth < 1) throw IllegalArgumentException("depth must be at least 1: " + std::to_string(depth));
}

std::size_t treeScale(std::size_t leaves, int depth) {
    const double scale = std::ceil(std::pow(static_cast<double>(leaves), 1.0 / depth));
    return std::max(static_cast<std::size_t>(scale), std::size_t{2});
}

void checkTakenCount(int n, const char* action) {
    if (n < 0)
        throw IllegalArgumentException(std::string(action) + " needs a count of at least 0: " + std::to_string(n));
}

std::vector<std::vector<int>> neighbourGroups(int count, int n) {
    std::vector<std::vector<int>> groups(static_cast<std::size_t>(std::min(n, count)));
    const auto size = static_cast<int64_t>(groups.size());
    for (int64_t i = 0; i < size; ++i) {
        for (int64_t p = i * count / size; p < (i + 1) * count / size; ++p) {
            groups[static_cast<std::size_t>(i)].push_back(static_cast<int>(p));
        }
    }
    return groups;
}

Partitioner choose(const PartitionChoice& choice, const std::vector<const RddBase*>& rdds) {
    return choice.partitioner() ? *choice.partitioner() : defaultPartitioner(rdds);
}

int nextPartitionsToScan(const SparkContextCore& core, int scanned, std::size_t found, std::size_t wanted) {
    if (scanned == 0) return std::max(1, core.conf().getInt("spark.rdd.limit.initialNumPartitions", 1));
    const int scaleUp = std::max(core.conf().getInt("spark.rdd.limit.scaleUpFactor", 4), 2);
    const auto most = static_cast<double>(scanned) * scaleUp;
    if (found == 0) return static_cast<int>(std::min(most, 1e9));
    // As many as the density so far asks for, and half as many again.
    const double estimate = std::ceil(1.5 * static_cast<double>(wanted - found) * scanned / static_cast<double>(found));
    return static_cast<int>(std::clamp(estimate, 1.0, std::min(most, 1e9)));
}

RangeNode::RangeNode(const std::shared_ptr<SparkContextCore>& context, int64_t start, int64_t step, uint64_t count,
                     int slices, CallSite callSite)
    : RddNode<int64_t>(context, {}, "range", callSite, std::nullopt),
      start_(start),
      step_(step),
      count_(count),
      slices_(slices) {}

int RangeNode::doNumPartitions() const {
    checkSlices(slices_);
    return slices_;
}

CursorPtr<int64_t> RangeNode::doCompute(int partition, TaskContext& context) const {
    class Numbers final : public Cursor<int64_t> {
    public:
        Numbers(uint64_t value, uint64_t step, std::size_t count, std::size_t chunkSize)
            : value_(value), step_(step), left_(count), chunkSize_(chunkSize) {}

    private:
        Chunk<int64_t> doNext() override {
            const std::size_t n = std::min(left_, chunkSize_);
            buffer_.resize(n);
            for (std::size_t i = 0; i < n; ++i, value_ += step_) buffer_[i] = static_cast<int64_t>(value_);
            left_ -= n;
            return Chunk<int64_t>::ownedBy(buffer_.data(), n);
        }
        uint64_t value_, step_;  // unsigned: a step past the end may wrap
        std::size_t left_, chunkSize_;
        std::vector<int64_t> buffer_;
    };
    const auto [begin, end] =
        sliceBounds(count_, static_cast<std::size_t>(partition), static_cast<std::size_t>(slices_));
    return std::make_unique<Numbers>(static_cast<uint64_t>(start_) + begin * static_cast<uint64_t>(step_),
                                     static_cast<uint64_t>(step_), end - begin, context.chunkSize());
}

}  // namespace detail

TextRDD::TextRDD(Plan plan) : Ops(plan.node), plan_(std::move(plan)) {}

TextRDD TextRDD::of(std::shared_ptr<RddNode<std::string_view>> lines, const char* operatorName, CallSite callSite) {
    const detail::Plan<std::string_view, std::string_view, detail::IdentityStage<std::string_view>> source{
        lines, lines, &detail::kIdentityStage<std::string_view>};
    const auto make = [](const RddBase*) { return detail::ToStringStep{}; };
    return TextRDD(detail::appendStep(source, operatorName, callSite, make, make));
}

RDD<int64_t> SparkContext::range(int64_t start, int64_t end, int64_t step, std::optional<int> slices,
                                 std::source_location location) const {
    core_->assertUsable("range");
    if (step == 0) throw IllegalArgumentException("range needs a step other than 0");
    uint64_t count = 0;
    if (step > 0 && start < end) {
        const uint64_t distance = static_cast<uint64_t>(end) - static_cast<uint64_t>(start);
        count = (distance - 1) / static_cast<uint64_t>(step) + 1;
    } else if (step < 0 && start > end) {
        const uint64_t distance = static_cast<uint64_t>(start) - static_cast<uint64_t>(end);
        count = (distance - 1) / (uint64_t{0} - static_cast<uint64_t>(step)) + 1;
    }
    return detail::makeRdd<int64_t>(std::make_shared<detail::RangeNode>(
        core_, start, step, count, slices.value_or(defaultParallelism()), CallSite::from(location)));
}

}  // namespace dstream
