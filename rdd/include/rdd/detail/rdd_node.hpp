#pragma once

#include "rdd/block.hpp"
#include "rdd/chunk.hpp"
#include "rdd/codec.hpp"
#include "rdd/detail/block_codec.hpp"
#include "rdd/rdd_base.hpp"

#include <memory>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

namespace dstream {

namespace detail {

std::shared_ptr<RddBase> asShared(RddBase* made);

}  // namespace detail

/// The typed node behind RDD<T>: computes one partition as a cursor of chunks.
template <class T>
class RddNode : public RddBase {
public:
    using Element = T;

    /// Kept block (cache, checkpoint, long lineage) if there is one, else computes.
    CursorPtr<T> iterator(int partition, TaskContext& context) const;

    /// Into how many splits a large partition may be cut, so that idle slots help; depends on sizes only.
    int splitCount(int partition) const { return isEdge() ? 1 : doSplitCount(partition); }
    /// The elements of one of `splitCount` splits; together, in order, they are the partition's. Without a split all.
    CursorPtr<T> splitIterator(int partition, std::optional<int> split, TaskContext& context) const;
    /// How much of a partition one split holds, about.
    static constexpr std::size_t kSplitTargetBytes = std::size_t{16} << 20;

    /// Computes the partition from the parents, whatever is kept of it.
    CursorPtr<T> compute(int partition, TaskContext& context) const { return doCompute(partition, context); }

    std::shared_ptr<const Block> computeBlock(int partition, TaskContext& context) const final;
    const BlockCodec* blockCodec() const final;
    std::string elementTypeName() const final;

    /// Serves the elements of a block of `Owned<T>`.
    static CursorPtr<T> cursorOf(std::shared_ptr<const Block> block, TaskContext& context);

protected:
    using RddBase::RddBase;
    std::shared_ptr<RddBase> makeCheckpointRdd(const std::string& directory) const override;

private:
    virtual CursorPtr<T> doCompute(int partition, TaskContext& context) const = 0;
    virtual int doSplitCount(int) const { return 1; }
    virtual CursorPtr<T> doComputeSplit(int partition, int split, TaskContext& context) const;
};

template <class T>
CursorPtr<T> RddNode<T>::iterator(int partition, TaskContext& context) const {
    if (!isEdge()) return doCompute(partition, context);
    return cursorOf(edgeBlock(partition, context), context);
}

template <class T>
CursorPtr<T> RddNode<T>::splitIterator(int partition, std::optional<int> split, TaskContext& context) const {
    return !split || splitCount(partition) == 1 ? iterator(partition, context)
                                                : doComputeSplit(partition, *split, context);
}

template <class T>
CursorPtr<T> RddNode<T>::doComputeSplit(int partition, int, TaskContext& context) const {
    return doCompute(partition, context);
}

template <class T>
std::shared_ptr<const Block> RddNode<T>::computeBlock(int partition, TaskContext& context) const {
    if (auto checkpoint = checkpointRdd()) {
        return static_cast<const RddNode<T>&>(*checkpoint).computeBlock(partition, context);
    }
    detail::Array<Owned<T>> elements;
    CursorPtr<T> cursor = doCompute(partition, context);
    if constexpr (std::is_same_v<T, Owned<T>>) {
        if (auto all = cursor->takeArray()) return detail::asShared(new VectorBlock<T>(*std::move(all)));
    }
    for (Chunk<T> chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
        context.checkCancelled();
        forEachIn(chunk, [&](auto&& element) {
            elements.push_back(detail::convertElement<Owned<T>>(std::forward<decltype(element)>(element)));
        });
    }
    return detail::asShared(new VectorBlock<Owned<T>>(std::move(elements)));
}

template <class T>
const BlockCodec* RddNode<T>::blockCodec() const {
    return detail::blockCodecFor<Owned<T>>();
}

template <class T>
std::string RddNode<T>::elementTypeName() const {
    return typeName(typeid(Owned<T>));
}

template <class T>
CursorPtr<T> RddNode<T>::cursorOf(std::shared_ptr<const Block> block, TaskContext& context) {
    const auto& elements = static_cast<const VectorBlock<Owned<T>>&>(*block).elements();
    const Owned<T>* data = elements.data();
    const std::size_t size = elements.size();
    return std::make_unique<detail::SharedArrayCursor<T, std::shared_ptr<const Block>>>(std::move(block), data, size,
                                                                                        context.chunkSize());
}

namespace detail {

/// Makes the node of an RDD.
template <class Node, class... Args>
std::shared_ptr<RddNode<typename Node::Element>> makeNode(Args&&... args) {
    return std::static_pointer_cast<RddNode<typename Node::Element>>(asShared(new Node(std::forward<Args>(args)...)));
}

/// Reads the blocks that a checkpoint or a saved object file holds, one file a partition.
template <class T>
class BlockFilesNode final : public RddNode<T> {
public:
    BlockFilesNode(const std::shared_ptr<SparkContextCore>& context, const char* className, std::string directory,
                   int numPartitions, std::optional<Partitioner> partitioner, const char* operatorName,
                   CallSite callSite)
        : RddNode<T>(context, {}, operatorName, callSite, std::move(partitioner)),
          className_(className),
          directory_(std::move(directory)),
          count_(numPartitions) {}
    const char* className() const override { return className_; }

private:
    int doNumPartitions() const override { return count_; }
    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        return RddNode<T>::cursorOf(readBlockFile(directory_, partition, *blockCodecFor<Owned<T>>()), context);
    }

    const char* className_;
    std::string directory_;
    int count_;
};

}  // namespace detail

template <class T>
std::shared_ptr<RddBase> RddNode<T>::makeCheckpointRdd(const std::string& directory) const {
    return detail::asShared(new detail::BlockFilesNode<T>(context(), "ReliableCheckpointRDD", directory,
                                                          numPartitions(), partitioner(), "checkpoint", callSite()));
}

}  // namespace dstream
