#pragma once

#include <dstream/dstream.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

/// A key and what is added to its total.
using Event = std::pair<int64_t, int64_t>;

/// The total of each key over the last 30 seconds, every second.
inline auto totalsOfWindow(const dstream::DStream<Event>& events) {
    return events.reduceByKeyAndWindow(std::plus<int64_t>{}, std::minus<int64_t>{}, dstream::Seconds(30),
                                       dstream::Seconds(1));
}

/// The total of every key so far, after each batch.
inline auto totals(const dstream::DStream<Event>& events) {
    return events.updateStateByKey<int64_t>([](const std::vector<int64_t>& values, std::optional<int64_t> total) {
        for (int64_t value : values) total = total.value_or(0) + value;
        return total;
    });
}

/// For each event its key and the key's total so far.
inline auto runningTotals(const dstream::DStream<Event>& events) {
    const auto add = [](int64_t key, std::optional<int64_t> value, dstream::State<int64_t>& total) {
        const int64_t sum = total.getOption().value_or(0) + value.value_or(0);
        total.update(sum);
        return Event(key, sum);
    };
    return events.mapWithState(dstream::StateSpec<int64_t, int64_t, int64_t, Event>::function(add));
}
