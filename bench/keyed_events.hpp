#pragma once

#include "keyed_totals/keyed_totals.hpp"
#include "measure.hpp"
#include <dstream/testkit.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

/// The i-th key of the keyed workloads: a draw of seed 42 modulo `keys`.
inline int64_t keyOf(uint64_t i, uint64_t keys) {
    uint64_t z = 42 + (i + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return static_cast<int64_t>((z ^ (z >> 31)) % keys);
}

/// Batch b holds the pairs (keyOf(b * n + j, keys), 1) for j in [0, n), the first half in partition 0. A batch that was
/// `prepared` lies in memory, any other is drawn by its tasks.
class KeyedEvents final : public dstream::InputDStreamNode<Event> {
public:
    struct Shape {
        uint64_t keys;
        uint64_t perBatch;
        bool allKeysFirst;  // batch 0 has each key once instead
    };
    KeyedEvents(const dstream::StreamingContext& ssc, Shape shape)
        : InputDStreamNode(ssc, "Keyed events"), shape_(shape) {}

    /// Brings a batch into memory, instead of the one prepared before.
    void prepare(uint64_t batch) {
        std::vector<Event> events;
        events.reserve(shape_.perBatch);
        for (std::size_t half : {0, 1}) draw(shape_, batch, half, [&](Event e) { events.push_back(e); });
        prepared_ = context().sparkContext().parallelize(std::move(events), 2);
        preparedBatch_ = batch;
    }

private:
    template <class Emit>
    static void draw(const Shape& shape, uint64_t batch, std::size_t half, Emit&& emit) {
        const bool all = shape.allKeysFirst && batch == 0;
        const uint64_t n = all ? shape.keys : shape.perBatch;
        for (uint64_t j = half == 0 ? 0 : n / 2; j < (half == 0 ? n / 2 : n); ++j) {
            emit(Event(all ? static_cast<int64_t>(j) : keyOf(batch * n + j, shape.keys), 1));
        }
    }

    std::optional<dstream::RDD<Event>> compute(dstream::Time time) override {
        const auto batch = static_cast<uint64_t>((time - zeroTime()) / slideDuration()) - 1;
        if (prepared_ && preparedBatch_ == batch) return std::exchange(prepared_, std::nullopt);
        return context()
            .sparkContext()
            .parallelize(std::vector<std::size_t>{0, 1}, 2)
            .flatMap<Event>([batch, shape = shape_](std::size_t half, auto&& emit) { draw(shape, batch, half, emit); });
    }

    const Shape shape_;
    std::optional<dstream::RDD<Event>> prepared_;
    uint64_t preparedBatch_ = 0;
};

/// A directory that is empty to begin with and goes with the object.
class ScratchDirectory {
public:
    ScratchDirectory() : path_(std::filesystem::current_path() / ("bench-checkpoint." + std::to_string(::getpid()))) {
        std::filesystem::remove_all(path_);
        std::filesystem::create_directory(path_);
    }
    ~ScratchDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;
    const std::string& path() const { return path_; }

private:
    const std::string path_;
};

/// Runs `define(ssc, events, result)`, a program over keyed events that leaves the number to be checked in `result`,
/// for `batches` batches of one second under the manual clock. The first `warmUp` are not measured, the others lie in
/// memory before they are.
template <class Define>
void runKeyed(KeyedEvents::Shape shape, int warmUp, int batches, Define define) {
    dstream::StreamingContext ssc = dstream::testkit::makeContext(dstream::Seconds(1));
    const auto events = dstream::makeInputStream<KeyedEvents>(ssc, shape);
    int64_t result = 0;
    define(ssc, events, result);
    ssc.start();
    int batch = 0;
    measure::repeat(
        warmUp, batches - warmUp,
        [&] {
            dstream::testkit::manualClock(ssc).advance(dstream::Seconds(1));
            return std::exchange(result, 0);
        },
        [&] {
            if (batch >= warmUp) static_cast<KeyedEvents&>(*events.node()).prepare(static_cast<uint64_t>(batch));
            ++batch;
        });
    measure::printPeakMemory();
    ssc.stop();
}
