#include "typed_chain.hpp"
#include "typed_steps.hpp"

namespace conformance {

namespace {

struct RddChains {
    static constexpr Text kTable[] = {"imfm", "iFmf", "ifm", "imF", "smFp", "sFpm", "sFfp", "sFm",
                                      "smf",  "sfF",  "spm", "kmf", "kfm",  "kFm",  "nmf",  "nfm"};
};

}  // namespace

AnyRdd takeTypedSteps(const dstream::SparkContext& sc, const nlohmann::json& input, nlohmann::json& steps,
                      CallCounts* counts) {
    return withPlainType(input.at("type"), [&]<class T, char kType>() {
        using Handle = dstream::RDD<Value>;
        const auto source = [&]() -> dstream::RDD<T> {
            if (input.contains("partitions")) return sc.fromPartitions(plainPartitions<T>(input["partitions"]));
            const auto elements = plainPartitions<T>(nlohmann::json::array({input.at("parallelize")}))[0];
            return input.contains("slices") ? sc.parallelize(elements, input["slices"].get<int>())
                                            : sc.parallelize(elements);
        }();
        return typedChain<AnyRdd, Handle, RddChains, kType>(source, steps, counts);
    });
}

}  // namespace conformance
