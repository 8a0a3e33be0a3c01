#include "rdd/accumulator.hpp"

#include "rdd/task_context.hpp"

namespace dstream {
namespace detail {

AccumulatorBase::~AccumulatorBase() = default;

AccumulatorBase& AccumulatorBase::here(const std::shared_ptr<AccumulatorBase>& accumulator) {
    TaskContext* const task = TaskContext::get();
    if (task == nullptr) return *accumulator;
    if (!accumulator->isRegistered()) {
        throw UnsupportedOperationException(
            "an accumulator must be registered with SparkContext::registerAccumulator before a task uses it");
    }
    auto& updates = task->accumulators_[accumulator->id_];
    if (!updates) {
        updates = accumulator->zeroed();
        updates->origin_ = accumulator;
    }
    return *updates;
}

void AccumulatorBase::requireDriver(const char* what) {
    if (TaskContext::get() != nullptr) {
        throw UnsupportedOperationException(std::string(what) +
                                            " of an accumulator is for the driver; tasks can only add");
    }
}

void AccumulatorBase::registerAs(int64_t id, std::string name) {
    if (isRegistered()) throw IllegalStateException("the accumulator is registered already, as " + std::to_string(id_));
    id_ = id;
    name_ = std::move(name);
}

int64_t AccumulatorBase::id() const {
    if (!isRegistered()) throw IllegalStateException("an accumulator has no id before it is registered");
    return id_;
}

const std::string& AccumulatorBase::name() const {
    if (!isRegistered()) throw IllegalStateException("an accumulator has no name before it is registered");
    return name_;
}

void AccumulatorBase::mergeIntoOrigin() {
    origin_->merge(*this);
}

std::unique_lock<std::mutex> AccumulatorBase::lock() const {
    return origin_ ? std::unique_lock<std::mutex>() : std::unique_lock(mutex_);
}

}  // namespace detail

template class AccumulatorV2<int64_t, int64_t>;
template class AccumulatorV2<double, double>;

std::unique_ptr<AccumulatorV2<int64_t, int64_t>> LongAccumulator::doCopy() const {
    return std::make_unique<LongAccumulator>(*this);
}
std::unique_ptr<AccumulatorV2<double, double>> DoubleAccumulator::doCopy() const {
    return std::make_unique<DoubleAccumulator>(*this);
}

int64_t LongAccumulator::sum() const {
    return read("sum()", [](const AccumulatorV2& state) { return state.stateAs<LongAccumulator>().sum_; });
}
int64_t LongAccumulator::count() const {
    return read("count()", [](const AccumulatorV2& state) { return state.stateAs<LongAccumulator>().count_; });
}
double LongAccumulator::avg() const {
    return read("avg()", [](const AccumulatorV2& state) {
        const auto& own = state.stateAs<LongAccumulator>();
        return static_cast<double>(own.sum_) / static_cast<double>(own.count_);
    });
}
void LongAccumulator::doAdd(const int64_t& value) {
    sum_ =
        static_cast<int64_t>(static_cast<uint64_t>(sum_) + static_cast<uint64_t>(value));  // wraps like the reference
    ++count_;
}
void LongAccumulator::doMerge(const AccumulatorV2& other) {
    const auto& that = other.stateAs<LongAccumulator>();
    sum_ = static_cast<int64_t>(static_cast<uint64_t>(sum_) + static_cast<uint64_t>(that.sum_));
    count_ += that.count_;
}

double DoubleAccumulator::sum() const {
    return read("sum()", [](const AccumulatorV2& state) { return state.stateAs<DoubleAccumulator>().sum_; });
}
int64_t DoubleAccumulator::count() const {
    return read("count()", [](const AccumulatorV2& state) { return state.stateAs<DoubleAccumulator>().count_; });
}
double DoubleAccumulator::avg() const {
    return read("avg()", [](const AccumulatorV2& state) {
        const auto& own = state.stateAs<DoubleAccumulator>();
        return own.sum_ / static_cast<double>(own.count_);
    });
}
void DoubleAccumulator::doReset() {
    sum_ = 0;
    count_ = 0;
}
void DoubleAccumulator::doAdd(const double& value) {
    sum_ += value;
    ++count_;
}
void DoubleAccumulator::doMerge(const AccumulatorV2& other) {
    const auto& that = other.stateAs<DoubleAccumulator>();
    sum_ += that.sum_;
    count_ += that.count_;
}

}  // namespace dstream
