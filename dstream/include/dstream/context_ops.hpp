#pragma once

#include "dstream/stream.hpp"

#include <source_location>
#include <utility>
#include <vector>

namespace dstream {

template <class T>
DStream<T> StreamingContext::unionAll(const std::vector<DStream<T>>& streams, std::source_location site) const {
    std::vector<std::shared_ptr<DStreamNode<T>>> nodes;
    for (const auto& stream : streams) nodes.push_back(stream.node());
    return detail::addCombineAll(
        "union", CallSite::from(site),
        [site](const std::vector<RDD<T>>& rdds) { return rdds.front().sparkContext().unionAll(rdds, site); }, nodes);
}

template <class F, class... Streams>
requires(sizeof...(Streams) > 0 &&
         !detail::kIsVector<F>) auto StreamingContext::transform(F f, const Streams&... streams) const {
    return detail::addCombine("transform", CallSite{}, std::move(f), streams.nodeAs()...);
}

template <class T, class F>
auto StreamingContext::transform(const std::vector<DStream<T>>& streams, F f, std::source_location site) const {
    std::vector<std::shared_ptr<DStreamNode<T>>> nodes;
    for (const auto& stream : streams) nodes.push_back(stream.node());
    return detail::addCombineAll("transform", CallSite::from(site), std::move(f), nodes);
}

}  // namespace dstream
