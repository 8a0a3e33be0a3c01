#include "any_stream.hpp"
#include "dstream/testkit.hpp"
#include "typed_steps.hpp"

namespace conformance {

using dstream::DStream;
using dstream::StreamingContext;

namespace {

struct StreamChains {
    static constexpr Text kTable[] = {"imf", "ifm", "iF", "sFp", "smF", "sf", "sp", "kmf", "kf", "kF", "nm"};
};

}  // namespace

AnyStream takeTypedStreamSteps(const StreamingContext& ssc, const nlohmann::json& input, nlohmann::json& steps,
                               CallCounts* counts) {
    return withPlainType(input.at("type"), [&]<class T, char kType>() {
        std::vector<dstream::testkit::Batch<T>> script;
        for (const auto& batch : input.at("batches")) {
            script.emplace_back();
            if (!batch.is_null()) script.back() = plainPartitions<T>(batch);
        }
        const DStream<T> source = dstream::testkit::partitionedBatches<T>(ssc, std::move(script));
        return typedChain<AnyStream, DStream<Value>, StreamChains, kType>(source, steps, counts);
    });
}

}  // namespace conformance
