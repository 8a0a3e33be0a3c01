#pragma once

#include <memory>
#include <string>
#include <utility>

#include "dstream/basic_ops.hpp"
#include "dstream/output_ops.hpp"
#include "dstream/pair_ops.hpp"
#include "dstream/stream_node.hpp"

namespace dstream {

namespace detail {

/// Every operator of a stream. A further family of operators is one more layer here.
template <class Self, class T, class Base>
using StreamOps = OutputStreamOps<Self, T, PairStreamOps<Self, T, BasicStreamOps<Self, T, Base>>>;

template <class T>
class StreamHandle {
public:
    using Element = T;

    explicit StreamHandle(std::shared_ptr<DStreamNode<T>> node) : node_(std::move(node)) {}
    const std::shared_ptr<DStreamNode<T>>& node() const { return node_; }

private:
    std::shared_ptr<DStreamNode<T>> node_;
};

}  // namespace detail

/// A stream of batches: for each batch time one RDD<T>. A handle: cheap to copy, copies speak of the same node. Operators are lazy
/// and only add nodes to the graph; a node that no output operation reaches is never computed.
///
///     auto counts = lines.flatMap([](std::string_view line) { return splitWords(line); })
///                       .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
///                       .reduceByKey(std::plus<>{});
///     counts.print();
///
/// Narrow operators return a type derived from DStream<U> that remembers how its RDDs are fused: keep it with `auto` and
/// neighbours become one loop; store it as DStream<U> and a chunk edge stands there.
template <class T>
class DStream : public detail::StreamOps<DStream<T>, T, detail::StreamHandle<T>> {
public:
    using Ops = detail::StreamOps<DStream<T>, T, detail::StreamHandle<T>>;
    using Ops::Ops;

    const std::shared_ptr<DStreamNode<T>>& nodeAs() const { return this->node(); }
};

/// A stream whose RDDs are of the static type `R`, such as a fused one; see DStream.
template <class R>
class DStreamOf : public detail::StreamOps<DStreamOf<R>, detail::ElementOf<R>, DStream<detail::ElementOf<R>>> {
    using Ops = detail::StreamOps<DStreamOf<R>, detail::ElementOf<R>, DStream<detail::ElementOf<R>>>;

public:
    explicit DStreamOf(std::shared_ptr<DStreamNodeOf<R>> node) : Ops(std::move(node)) {}

    std::shared_ptr<DStreamNodeOf<R>> nodeAs() const { return std::static_pointer_cast<DStreamNodeOf<R>>(this->node()); }
};

/// Lines of text. A DStream<std::string> whose first narrow operator calls the user with a `std::string_view` into the buffer if
/// the function takes one (a generic lambda does), else with a `const std::string&`.
class TextDStream : public detail::StreamOps<TextDStream, std::string, DStream<std::string>> {
    using Ops = detail::StreamOps<TextDStream, std::string, DStream<std::string>>;

public:
    explicit TextDStream(std::shared_ptr<DStreamNodeOf<TextRDD>> node) : Ops(std::move(node)) {}

    /// The input stream's number in its context, from 0.
    int id() const { return node()->input()->id(); }
    /// Words for people: "Socket stream [0]".
    std::string name() const { return node()->input()->name(); }

    std::shared_ptr<DStreamNodeOf<TextRDD>> nodeAs() const { return std::static_pointer_cast<DStreamNodeOf<TextRDD>>(node()); }
};

namespace detail {

template <>
struct StreamOfRdd<TextRDD> {
    using type = TextDStream;
};

}  // namespace detail
}  // namespace dstream
