#include "rdd/detail/shuffle.hpp"

namespace dstream::detail {

void writeSplits(int count, TaskContext& context, MapOutputSink& out,
                 const std::function<void(std::optional<int> split, TaskContext&, const AddRun&)>& writeSplit) {
    if (count == 1) {
        writeSplit(std::nullopt, context, [&](std::vector<BlockPtr> run) { out.addRun(std::move(run)); });
        return;
    }
    using Runs = std::vector<std::vector<BlockPtr>>;
    std::vector<Runs> all(static_cast<std::size_t>(count));
    context.core().runSplits(context, count, [&](int split, TaskContext& part) {
        Runs kept;
        writeSplit(split, part, [&](std::vector<BlockPtr> run) { kept.push_back(std::move(run)); });
        all[static_cast<std::size_t>(split)] = std::move(kept);
    });
    for (Runs& runs : all) {
        for (auto& run : runs) out.addRun(std::move(run));
    }
}

}  // namespace dstream::detail
